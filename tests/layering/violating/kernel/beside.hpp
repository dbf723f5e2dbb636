// report: kernel may not include <ringfold/collective/shift.hpp>
#pragma once

#  include <ringfold/collective/shift.hpp>
