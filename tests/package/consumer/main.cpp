#include <ringfold/core/config.hpp>

static_assert(__cplusplus >= 202002L, "ringfold::ringfold brings C++20");

int main() { return RINGFOLD_VERSION >= 100 ? 0 : 1; }
