#pragma once

#include <ostream>

#include <ringfold/wrap/trace_log.hpp>

/// \file
/// A trace as the JSON that Perfetto (ui.perfetto.dev) and chrome://tracing open.

namespace ringfold {

namespace detail {

inline const char* name_of(role what) {
  constexpr const char* names[role_count] = {"other", "query", "key", "value", "output", "lse", "gradient", "state"};
  return names[static_cast<int>(what)];
}

inline const char* name_of(activity what) {
  constexpr const char* names[] = {"post", "send", "receive", "arrived", "reusable", "prepare", "accumulate", "close"};
  return names[static_cast<int>(what)];
}

inline const char* category_of(activity what) {
  if (what <= activity::receive) return "exchange";
  return what <= activity::reusable ? "wait" : "compute";
}

inline line arguments_of(const trace_record& r) {
  auto const number = [](extent value) { return static_cast<long long>(value); };
  switch (r.what) {
    case activity::post: return say("\"step\":%lld,\"bytes\":%lld", number(r.step), number(r.bytes));
    case activity::send:
    case activity::receive:
      return say("\"step\":%lld,\"bytes\":%lld,\"peer\":%d,\"role\":\"%s\"", number(r.step), number(r.bytes), r.peer,
                 name_of(r.carries));
    case activity::arrived:
    case activity::reusable: return say("\"step\":%lld", number(r.step));
    case activity::accumulate: return say("\"owner\":%d,\"present\":%s", r.owner, r.present ? "true" : "false");
    default: return {};
  }
}

}  // namespace detail

/// What the ranks did in one run: each rank's records, in order of beginning.
struct trace_run {
  const char* name = "ringfold";
  std::vector<span<const trace_record>> tracks{};
  extent dropped = 0;  ///< records that found no room
};

/// Writes a process per run and in it a track per rank: each record an event of phase X with ts and dur in
/// microseconds, to the nanosecond.
///
/// Arguments of events: step, bytes, peer and role (of pieces, sends and receives apart), owner and present (of
/// blocks). `otherData.dropped` is the number of records that found no room, over all runs.
inline void write_chrome_json(span<const trace_run> runs, std::ostream& to) {
  // Numbers are printed by say(), which no locale of the stream groups.
  auto const number = [](std::int64_t value) { return static_cast<long long>(value); };
  extent dropped = 0;
  int process = 0;
  const char* separator = "";
  to << R"({"displayTimeUnit":"ns","traceEvents":[)";
  for (const trace_run& run : runs) {
    dropped += run.dropped;
    to << separator << say(R"({"ph":"M","pid":%d,"name":"process_name","args":{"name":")", process).text;
    for (const char* c = run.name; *c != 0; ++c) {
      bool const control = static_cast<unsigned char>(*c) < 0x20;
      if (control) {
        to << say("\\u%04x", static_cast<unsigned>(*c)).text;
        continue;
      }
      if (*c == '"' || *c == '\\') to << '\\';
      to << *c;
    }
    to << "\"}}";
    separator = ",\n";
    int rank = 0;
    for (auto const records : run.tracks) {
      to << say(",\n{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"thread_name\",\"args\":{\"name\":\"rank %d\"}}",
                process, rank, rank)
                .text;
      for (const trace_record& r : records) {
        std::int64_t const length = r.end - r.begin;
        to << say(",\n{\"ph\":\"X\",\"pid\":%d,\"tid\":%d,\"ts\":%lld.%03lld,\"dur\":%lld.%03lld,\"cat\":\"%s\","
                  "\"name\":\"%s\",\"args\":{%s}}",
                  process, rank, number(r.begin / 1000), number(r.begin % 1000), number(length / 1000),
                  number(length % 1000), detail::category_of(r.what), detail::name_of(r.what),
                  detail::arguments_of(r).text)
                  .text;
      }
      ++rank;
    }
    ++process;
  }
  to << say("\n],\"otherData\":{\"dropped\":%lld}}\n", number(dropped)).text;
}

/// Writes a log as one run.
inline void write_chrome_json(const trace_log& log, std::ostream& to) {
  trace_run run;
  for (int rank = 0; rank < log.ranks(); ++rank) {
    run.tracks.push_back(log[rank].records());
    run.dropped += log[rank].dropped();
  }
  write_chrome_json({&run, 1}, to);
}

}  // namespace ringfold
