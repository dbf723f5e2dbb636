#pragma once

/// \file
/// Whether a sanitizer watches: it has seen enough where other numbers take the same way again.

#ifdef RINGFOLD_SANITIZED
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif
