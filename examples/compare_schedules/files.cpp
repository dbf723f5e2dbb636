#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "report.hpp"
#include "support/output.hpp"

#include <ringfold/wrap/trace_json.hpp>

namespace compare_schedules {

using ringfold::examples::write;
using ordered = nlohmann::ordered_json;

void write_json(const std::string& file, const options& o, const experiment& e, const std::vector<result>& results) {
  ordered all = ordered::array();
  for (const result& r : results) {
    ordered one{{"schedule", r.which->name},
                {"ranks", e.ranks()},
                {"layout", o.layout_text},
                {"mask", o.mask_text},
                {"dtype", name_of(e.type)},
                {"seq", e.tokens.tokens()},
                {"seconds_median", r.seconds_median},
                {"tokens_per_second", static_cast<double>(e.tokens.tokens()) / r.seconds_median},
                {"order", o.order},
                {"steps", r.forward.steps},
                {"bytes_sent_max", r.forward.bytes},
                {"bytes_expected", r.forward.bytes_expected},
                {"workspace_bytes", r.did.workspace},
                {"max_abs_error", r.error.max_abs},
                {"rms_error", r.error.rms},
                {"bitwise_repeatable", r.did.repeatable},
                {"max_abs_error_allowed", r.allowed.max_abs},
                {"rms_error_allowed", r.allowed.rms}};
    if (e.backward) {
      one["backward_seconds"] = r.backward_seconds;
      one["steps_backward"] = r.backward.steps;
      one["bytes_sent_backward"] = r.backward.bytes;
      one["bytes_expected_backward"] = r.backward.bytes_expected;
      one["grad_max_abs_error"] = r.gradient_error;
      one["grad_max_abs_error_allowed"] = r.gradient_error_allowed;
    }
    if (r.error_to_o) {
      one["max_abs_error_to_o"] = r.error_to_o->max_abs;
      one["max_abs_error_to_o_allowed"] = r.allowed_to_o->max_abs;
    }
    all.push_back(std::move(one));
  }
  write(file, all.dump(2) + "\n");
}

void write_trace(const std::string& file, const std::vector<result>& results) {
  std::vector<ringfold::trace_run> runs;
  for (const result& r : results) {
    runs.push_back({r.which->name, {}, r.did.records_dropped});
    for (const auto& track : r.did.trace) runs.back().tracks.push_back(track);
  }
  std::ostringstream text;
  ringfold::write_chrome_json(runs, text);
  write(file, text.str());
}

}  // namespace compare_schedules
