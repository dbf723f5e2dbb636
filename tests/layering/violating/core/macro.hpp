// report: a macro without the prefix RINGFOLD_
#pragma once

#define CHECK(condition)
