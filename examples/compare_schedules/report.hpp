#pragma once

#include <cstdio>

#include "verdict.hpp"

/// \file
/// What a user sees: a table, and files.

namespace compare_schedules {

/// The table, printed line by line as results come.
class table {
 public:
  table(std::FILE* to, const options& o, const inputs& in, bool processes)
      : to_(to), o_(o), in_(in), processes_(processes) {}

  /// What is run, what it is held against, the names of the columns, and the kernel on one rank.
  void begin(const baseline& base);
  void row(const result& r);
  /// A schedule that `all` leaves out.
  void left_out(const schedule& s, const std::string& why);
  /// One line; true when everything was right.
  bool end(const baseline& base, const std::vector<result>& results);

 private:
  std::FILE* to_;
  const options& o_;
  const inputs& in_;
  bool processes_;
};

/// Writes the results; "-" is the standard output. \throws ringfold::error when it cannot.
void write_json(const std::string& file, const options& o, const experiment& e, const std::vector<result>& results);

/// Writes one process for each schedule, all beginning at 0. \throws ringfold::error when it cannot.
void write_trace(const std::string& file, const std::vector<result>& results);

}  // namespace compare_schedules
