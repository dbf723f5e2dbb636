#pragma once

/// The version as one number: major * 10000 + minor * 100 + patch. The same as the CMake package's.
#define RINGFOLD_VERSION 100  // NOLINT(modernize-macro-to-enum): for the preprocessor
