#include <ringfold/wrap/traced.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/attention/ulysses.hpp>
#include <ringfold/comm/self.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/core/group.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/testing/communicator_laws.hpp>
#include <ringfold/wrap/counted.hpp>
#include <ringfold/wrap/trace_json.hpp>

using namespace ringfold;

namespace {

static_assert(communicator<traced<threads>> && lends<traced<threads>>);
static_assert(communicator<traced<counted<threads>>> && communicator<counted<traced<self>>>);
static_assert(attention<traced<reference_kernel>, problem<float>, host_stream>);
static_assert(attention<ring_attention<traced<threads>, traced<reference_kernel>>, problem<float>, host_stream>);

constexpr extent heads_of_all = 4, dim_of_all = 3;

/// One event of the JSON, times in nanoseconds.
struct event {
  long long begin, end;
  int rank;
  std::string name;
  nlohmann::json args;
};

/// The events of a log, as a trace viewer reads them.
std::vector<event> events_of(const trace_log& log) {
  std::ostringstream text;
  write_chrome_json(log, text);
  auto const parsed = nlohmann::json::parse(text.str());
  std::vector<event> events;
  for (const auto& each : parsed.at("traceEvents")) {
    if (each.at("ph") != "X") continue;
    long long const begin = std::llround(each.at("ts").get<double>() * 1000);
    events.push_back({begin, begin + std::llround(each.at("dur").get<double>() * 1000), each.at("tid"), each.at("name"),
                      each.at("args")});
  }
  return events;
}

std::vector<event> of_rank(const std::vector<event>& all, int rank) {
  std::vector<event> some;
  std::copy_if(all.begin(), all.end(), std::back_inserter(some), [&](const event& e) { return e.rank == rank; });
  return some;
}

/// Whether any two spans are apart or one within the other; a record stands behind those around it.
bool nested(const std::vector<event>& track) {
  std::vector<event> open;
  long long now = 0;
  for (const event& each : track) {
    if (each.begin < now || each.end < each.begin) return false;
    now = each.begin;
    while (!open.empty() && open.back().end <= each.begin && open.back().end < each.end) open.pop_back();
    if (!open.empty() && each.begin < open.back().end && each.end > open.back().end) return false;
    open.push_back(each);
  }
  return true;
}

/// Runs an attention made by `compose(communicator, kernel)` on thread ranks; returns all outputs.
template <class Compose>
std::vector<float> run(const problem<float>& p, Compose compose) {
  int const ranks = p.queries.ranks();
  std::vector<std::vector<float>> outputs(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](threads comm) {
    extent const rows = p.queries.rows(comm.rank()), size = p.batch * rows * p.head.query * p.dim;
    std::vector<float> q(static_cast<std::size_t>(size + 1)), k = q, v = q, out = q;
    for (std::size_t i = 0; i < q.size(); ++i) {
      float const x = static_cast<float>(i) + 100.0f * static_cast<float>(comm.rank());
      q[i] = std::sin(x), k[i] = std::cos(2 * x), v[i] = std::sin(3 * x);
    }
    auto const shard = [&](std::vector<float>& data) { return dense(data.data(), p.batch, rows, p.head.query, p.dim); };
    plan attend(compose(comm), p);
    attend.forward(shard(q), shard(k), shard(v), shard(out));
    outputs[static_cast<std::size_t>(comm.rank())] = out;
  });
  std::vector<float> all;
  for (const auto& each : outputs) all.insert(all.end(), each.begin(), each.end());
  return all;
}

}  // namespace

TEST_CASE("a trace of a ring: valid, nested, complete, and equal to the counters") {
  for (int const ranks : {1, 2, 3, 5, 8}) {
    for (band const mask : {full(), causal(), window(2)}) {
      CAPTURE(ranks);
      auto const p = make_problem<float>(contiguous(20, ranks), {.heads = heads_of_all, .dim = dim_of_all}, mask);
      std::vector<counters> books(static_cast<std::size_t>(ranks));
      trace_log log(ranks, 1000);
      auto const with_trace = run(p, [&](threads comm) {
        trace_track& track = log[comm.rank()];
        counters& book = books[static_cast<std::size_t>(comm.rank())];
        return ring(traced(counted(comm, book), track), traced(reference_kernel{}, track));
      });
      auto const without = run(p, [&](threads comm) { return ring(comm, reference_kernel{}); });
      CHECK(with_trace == without);

      auto const events = events_of(log);
      for (int rank = 0; rank < ranks; ++rank) {
        CAPTURE(rank);
        auto const track = of_rank(events, rank);
        CHECK(log[rank].dropped() == 0);
        CHECK(track.size() == log[rank].records().size());
        CHECK(nested(track));

        std::map<std::string, extent> bytes;
        extent messages = 0, posts = 0, arrivals = 0;
        std::vector<int> owners;
        std::map<extent, long long> posted;  // when, by step
        for (const event& each : track) {
          if (each.name == "send") {
            bytes[each.args.at("role")] += each.args.at("bytes").get<extent>();
            ++messages;
            CHECK(each.args.at("peer") == (rank + 1) % ranks);
          } else if (each.name == "receive") {
            CHECK(each.args.at("peer") == (rank + ranks - 1) % ranks);
          } else if (each.name == "post") {
            CHECK(each.args.at("step") == posts++);
            posted[each.args.at("step")] = each.end;
          } else if (each.name == "arrived" || each.name == "reusable") {
            CHECK(posted.at(each.args.at("step")) <= each.begin);
            arrivals += each.name == "arrived";
          } else if (each.name == "accumulate") {
            int const owner = each.args.at("owner");
            owners.push_back(owner);
            bool const travels = owner == rank || reference_kernel{}.needs(p, rank, owner);
            if (travels) CHECK(each.args.at("present") == true);
          }
        }
        const counters& book = books[static_cast<std::size_t>(rank)];
        CHECK(bytes["key"] == book.bytes[static_cast<int>(role::key)]);
        CHECK(bytes["value"] == book.bytes[static_cast<int>(role::value)]);
        CHECK(bytes["key"] + bytes["value"] == book.total_bytes());
        CHECK(messages == book.messages);
        CHECK(posts == book.steps);
        CHECK(arrivals == posts);
        std::vector<int> in_order;
        for (int step = 0; step < ranks; ++step) in_order.push_back((rank + ranks - step) % ranks);
        CHECK(owners == in_order);
        CHECK(track.front().name == "prepare");
        CHECK(track.back().name == "close");
      }
    }
  }
}

TEST_CASE("the sum of what is sent equals the counters of every role, through groups and an all-to-all") {
  auto const p = make_problem<float>(zigzag(24, 4), {.batch = 2, .heads = heads_of_all, .dim = dim_of_all}, causal());
  std::vector<counters> books(4);
  trace_log log(4, 1000);
  run(p, [&](threads comm) {
    counters& book = books[static_cast<std::size_t>(comm.rank())];
    //! [traced]
    trace_track& track = log[comm.rank()];
    auto const g = grid(traced(counted(comm, book), track), 2, 2);
    auto const attend = ulysses(g.row(), ring(g.col(), traced(reference_kernel{}, track)));
    //! [traced]
    return attend;
  });
  auto const events = events_of(log);
  for (int rank = 0; rank < 4; ++rank) {
    const counters& book = books[static_cast<std::size_t>(rank)];
    for (role const what : {role::query, role::key, role::value, role::output, role::lse, role::state}) {
      extent sum = 0;
      for (const event& each : of_rank(events, rank)) {
        if (each.name == "send" && each.args.at("role") == detail::name_of(what))
          sum += each.args.at("bytes").get<extent>();
      }
      CHECK(sum == book.bytes[static_cast<int>(what)]);
      CHECK((sum > 0) == (what != role::state));
    }
    auto const posted = [&](const event& each) { return each.name == "post"; };
    auto const track = of_rank(events, rank);
    CHECK(std::count_if(track.begin(), track.end(), posted) == book.steps);
  }
}

TEST_CASE("blocks that nobody needs are recorded as absent") {
  auto const p = make_problem<float>(contiguous(12, 3), {.heads = 1, .dim = 2}, causal());
  trace_log log(3, 100);
  run(p, [&](threads comm) { return ring(comm, traced(reference_kernel{}, log[comm.rank()])); });
  auto const presence = [&](int rank) {
    std::vector<std::pair<int, bool>> seen;
    for (const trace_record& r : log[rank].records()) {
      if (r.what == activity::accumulate) seen.emplace_back(r.owner, r.present);
    }
    return seen;
  };
  // Rank 2 begins with its own block, which nobody further on needs.
  CHECK(presence(0) == std::vector<std::pair<int, bool>>{{0, true}, {2, false}, {1, false}});
  CHECK(presence(2) == std::vector<std::pair<int, bool>>{{2, true}, {1, true}, {0, true}});
}

TEST_CASE("a traced attention may hold others: its spans enclose theirs") {
  auto const p = make_problem<float>(contiguous(12, 2), {.heads = 2, .dim = 2});
  trace_log log(2, 100);
  run(p, [&](threads comm) {
    trace_track& track = log[comm.rank()];
    return traced(ring(traced(comm, track), traced(reference_kernel{}, track)), track);
  });
  auto const events = events_of(log);
  for (int rank = 0; rank < 2; ++rank) {
    auto const track = of_rank(events, rank);
    CHECK(nested(track));
    auto const whole = std::find_if(track.begin(), track.end(), [](const event& e) { return e.name == "accumulate"; });
    int within = 0;
    for (auto each = whole + 1; each != track.end(); ++each) {
      if (each->name == "close") break;
      CHECK(each->end <= whole->end);
      within += each->name == "accumulate";
    }
    CHECK(within == 2);
  }
}

TEST_CASE("a full track drops and counts; what it holds stays where it is") {
  trace_log log(1, 4);
  trace_track& track = log[0];
  auto const* const memory = track.records().data();
  traced comm(self(), track);
  float data[2] = {1, 2};
  piece const out[] = {piece_of(dense(data, 1), role::key, 0)}, in[] = {piece_of(dense(data + 1, 1), role::key, 0)};
  for (int repeat = 0; repeat < 3; ++repeat) {
    auto posted = comm.post({.sends = out, .receives = in}, {});
    posted.arrived({});
    posted.reusable({});
  }
  CHECK(data[1] == 1);
  CHECK(track.records().size() == 4);  // post, send, receive, arrived
  CHECK(track.dropped() == 3 * 5 - 4);
  CHECK(track.records().data() == memory);
  std::ostringstream text;
  write_chrome_json(log, text);
  CHECK(nlohmann::json::parse(text.str()).at("otherData").at("dropped") == 11);

  trace_log none(2, 0);
  auto const computing = none[1].open({.what = activity::close});
  CHECK(none[1].dropped() == 1);
  CHECK(events_of(none).empty());
}

TEST_CASE("runs are processes, whatever their names") {
  trace_record const first{.what = activity::close, .begin = 1234567, .end = 2000001},
      second{.what = activity::accumulate, .present = false, .owner = 3};
  trace_run const runs[] = {{"ring \"a\\", {{&first, 1}}, 2}, {"gather", {{}, {&second, 1}}, 3}, {"none"}};
  std::ostringstream text;
  write_chrome_json(runs, text);
  auto const parsed = nlohmann::json::parse(text.str());
  CHECK(parsed.at("otherData").at("dropped") == 5);
  std::vector<std::string> names;
  for (const auto& each : parsed.at("traceEvents")) {
    if (each.at("name") == "process_name") names.push_back(each.at("args").at("name"));
    if (each.at("ph") != "X") continue;
    bool const is_first = each.at("pid") == 0;
    CHECK(each.at("tid") == (is_first ? 0 : 1));
    CHECK(each.at("name") == (is_first ? "close" : "accumulate"));
    if (is_first) CHECK(each.at("ts").dump() == "1234.567");
    if (is_first) CHECK(each.at("dur").dump() == "765.434");
    if (!is_first) CHECK(each.at("args") == nlohmann::json{{"owner", 3}, {"present", false}});
  }
  CHECK(names == std::vector<std::string>{"ring \"a\\", "gather", "none"});
}

TEST_CASE("requests that are complete by birth or by move record no wait") {
  trace_log log(1, 100);
  traced comm(self(), log[0]);
  using request = request_t<decltype(comm)>;
  request born;
  born.arrived({});
  auto first = comm.post({}, {});
  auto second = std::move(first);
  first.arrived({});
  first.reusable({});
  CHECK(log[0].records().size() == 1);
  born = std::move(second);
  second.reusable({});
  CHECK(log[0].records().size() == 1);
  born.arrived({});
  auto& same = born;
  born = std::move(same);
  born.reusable({});
  CHECK(log[0].records().size() == 3);
  CHECK(log[0].records()[2].what == activity::reusable);
  CHECK(log[0].records()[2].step == 0);
}

TEST_CASE("what is refused has a post without pieces, and its span ends") {
  trace_log log(1, 100);
  traced comm(self(), log[0]);
  float data = 0;
  piece const nobody[] = {piece_of(dense(&data, 1), role::key, 3)};
  CHECK_THROWS_AS(comm.post({.sends = nobody}, {}), usage_error);
  CHECK(log[0].records().size() == 1);
  CHECK(log[0].records()[0].end > log[0].records()[0].begin);
}

TEST_CASE("a log needs a rank and no negative room") {
  CHECK_THROWS_AS(trace_log(0, 10), usage_error);
  CHECK_THROWS_AS(trace_log(2, -1), usage_error);
}

TEST_CASE("a traced communicator keeps the laws, counted too, and with no room left") {
  for (int const ranks : {1, 2, 3, 5, 8}) {
    CAPTURE(ranks);
    trace_log log(ranks, 2000);
    run_ranks(ranks, [&](threads comm) {
      counters book;
      communicator_laws(traced(counted(comm, book), log[comm.rank()]), 12);
    });
    auto const events = events_of(log);
    for (int rank = 0; rank < ranks; ++rank) CHECK(nested(of_rank(events, rank)));
  }
}
