// report: schedule may not include <ringfold/sequence/layout.hpp>
#pragma once

#include <ringfold/sequence/layout.hpp>
