#include "measure.hpp"

#include <algorithm>
#include <chrono>
#include <limits>

#include "collect.hpp"
#include "prepare.hpp"
#include "world.hpp"

namespace compare_schedules {

namespace {

using clock = ringfold::trace_track::clock;

/// Room for the records of one call on one rank.
constexpr extent trace_records = 1 << 16;

/// Copies between a rank's rows and their places in the whole tensor.
template <class Whole, class Rows, class Copy>
void for_each_row(const ringfold::layout& tokens, int rank, Whole whole, Rows rows, Copy copy) {
  tokens.for_each_position(rank, [&](extent row, extent position) {
    copy(piece_of(slice(whole, ringfold::row_axis, position, 1), ringfold::role::other),
         piece_of(slice(rows, ringfold::row_axis, row, 1), ringfold::role::other));
  });
}

/// One rank's rows of a tensor.
tensor shard_of(const tensor& whole, const ringfold::layout& tokens, int rank) {
  tensor made(whole.type, whole.extents[0], tokens.rows(rank), whole.extents[2], whole.extents[3]);
  with_element(whole.type, [&]<class T>(T) {
    for_each_row(tokens, rank, whole.as<T>(), made.as<T>(),
                 [](auto at, auto mine) { ringfold::host_stream{}.copy(mine, at); });
  });
  return made;
}

/// One rank's inputs, and room for its outputs.
struct shards {
  tensor q, k, v, out, lse;

  shards(const experiment& e, int rank)
      : q(shard_of(e.q, e.tokens, rank)),
        k(shard_of(e.k, e.tokens, rank)),
        v(shard_of(e.v, e.tokens, rank)),
        out(e.type, e.shape.batch, e.tokens.rows(rank), e.shape.heads, e.shape.value_dim),
        lse(e.sum_type(), e.shape.batch, e.tokens.rows(rank), e.shape.heads, 1) {}

  void forward(call& run) { run.forward(q, k, v, out, lse); }
};

/// Warms up, then times each call from a barrier on.
template <class C>
void time(call& run, const schedule& s, const experiment& e, C& comm, shards& mine, ringfold::counters& book,
          progress& show, measurement& all) {
  std::vector<double> seconds;
  std::vector<std::byte> first_out, first_lse;
  bool repeatable = true;
  for (int i = 0; i <= e.repeats; ++i) {
    if (comm.rank() == 0) show.tell(std::string(s.name) + ", repeats", i, e.repeats);
    book = {};
    barrier(comm);
    auto const start = clock::now();
    mine.forward(run);
    std::chrono::duration<double> const took = clock::now() - start;
    if (i == 0) {
      first_out = mine.out.bytes, first_lse = mine.lse.bytes;
    } else {
      seconds.push_back(took.count());
      repeatable = repeatable && mine.out.bytes == first_out && mine.lse.bytes == first_lse;
    }
  }
  std::vector<extent> counted{book.total_bytes(), book.steps, run.workspace(), repeatable};
  collect(
      comm, counted, [](int) { return 4; },
      [&](int, const std::vector<extent>& theirs) {
        all.bytes.push_back(theirs[0]);
        all.steps.push_back(theirs[1]);
        all.workspace = std::max(all.workspace, theirs[2]);
        all.repeatable = all.repeatable && theirs[3] != 0;
      });
  collect(
      comm, seconds, [&](int) { return e.repeats; },
      [&](int, const std::vector<double>& theirs) {
        all.seconds.resize(theirs.size());
        for (std::size_t i = 0; i < theirs.size(); ++i) all.seconds[i] = std::max(all.seconds[i], theirs[i]);
      });
}

/// Everybody's output to its place on rank 0.
template <class C>
void collect_output(const experiment& e, C& comm, shards& mine, measurement& all) {
  extent const batch = e.shape.batch, heads = e.shape.heads, dim = e.shape.value_dim;
  if (comm.rank() == 0) all.out = tensor(e.type, batch, e.tokens.tokens(), heads, dim);
  collect(
      comm, mine.out.bytes, [&](int rank) { return batch * e.tokens.rows(rank) * heads * dim * e.type.bytes(); },
      [&](int rank, std::vector<std::byte>& theirs) {
        with_element(e.type, [&]<class T>(T) {
          auto const rows =
              ringfold::dense(reinterpret_cast<const T*>(theirs.data()), batch, e.tokens.rows(rank), heads, dim);
          for_each_row(e.tokens, rank, all.out.as<T>(), rows,
                       [](auto at, auto from) { ringfold::host_stream{}.copy(at, from); });
        });
      });
}

/// Rank 0's clock where it is everybody's; ranks may be processes, and on other machines.
template <class C>
clock::time_point common_start(C& comm) {
  std::vector<clock::rep> start{clock::now().time_since_epoch().count()};
  ringfold::posting lists;
  for (int rank = 1; comm.rank() == 0 && rank < comm.size(); ++rank) lists.send(bytes_of(start, rank));
  if (comm.rank() != 0) lists.receive(bytes_of(start, 0));
  lists.run(comm, {});
  barrier(comm);
  clock::time_point const told{clock::duration(start[0])}, now = clock::now();
  return told <= now && now - told < std::chrono::minutes(1) ? told : now;
}

/// One more call, recorded.
template <class C>
void record(const schedule& s, const experiment& e, C& comm, shards& mine, measurement& all) {
  ringfold::counters book;
  ringfold::trace_track track(common_start(comm), trace_records);
  auto const run = s.prepare(e, {comm}, book, track);
  barrier(comm);
  mine.forward(*run);
  std::vector<ringfold::trace_record> records(track.records().begin(), track.records().end());
  std::vector<extent> counts{static_cast<extent>(records.size()), track.dropped()}, lengths;
  collect(
      comm, counts, [](int) { return 2; },
      [&](int, const std::vector<extent>& theirs) {
        lengths.push_back(theirs[0]);
        all.records_dropped += theirs[1];
      });
  collect(
      comm, records, [&](int rank) { return lengths[static_cast<std::size_t>(rank)]; },
      [&](int, const std::vector<ringfold::trace_record>& theirs) { all.trace.push_back(theirs); });
  if (comm.rank() != 0) return;
  std::int64_t first = std::numeric_limits<std::int64_t>::max();
  for (const auto& records_of_rank : all.trace)
    first = records_of_rank.empty() ? first : std::min(first, records_of_rank.front().begin);
  for (auto& records_of_rank : all.trace) {
    for (ringfold::trace_record& each : records_of_rank) each.begin -= first, each.end -= first;
  }
}

}  // namespace

measurement measure(const schedule& s, const experiment& e, const world& where, bool trace, progress& show) {
  measurement all;
  on_ranks(where, [&](auto comm) {
    shards mine(e, comm.rank());
    {
      ringfold::counters book;
      ringfold::trace_track silent(clock::now(), 0);
      auto const run = s.prepare(e, {comm}, book, silent);
      time(*run, s, e, comm, mine, book, show, all);
    }
    collect_output(e, comm, mine, all);
    if (trace) record(s, e, comm, mine, all);
  });
  return all;
}

measurement measure_kernel(const experiment& e, progress& show) {
  measurement made;
  made.out = tensor(e.type, e.shape.batch, e.tokens.tokens(), e.shape.heads, e.shape.value_dim);
  with_element(e.type, [&]<class T>(T) {
    ringfold::plan run(kernel{}, e.problem<T>(ringfold::contiguous(e.tokens.tokens(), 1)));
    made.workspace = run.workspace();
    for (int i = 0; i <= e.repeats; ++i) {
      show.tell("one rank alone, repeats", i, e.repeats);
      auto const start = clock::now();
      run.forward(e.q.as<T>(), e.k.as<T>(), e.v.as<T>(), made.out.as<T>());
      std::chrono::duration<double> const took = clock::now() - start;
      // The first call warms up, unless it is so long that once is enough.
      bool const enough = i == 0 && took > std::chrono::seconds(2);
      if (i > 0 || enough) made.seconds.push_back(took.count());
      if (enough) break;
    }
  });
  return made;
}

tensor kernel_output(const experiment& e, extent first_key) {
  tensor made(e.type, e.shape.batch, e.tokens.tokens(), e.shape.heads, e.shape.value_dim);
  extent const tokens = e.tokens.tokens();
  ringfold::layout const turned(tokens, {{{first_key, 1, tokens - first_key}, {0, 1, first_key}}});
  tensor const k = shard_of(e.k, turned, 0), v = shard_of(e.v, turned, 0);
  with_element(e.type, [&]<class T>(T) {
    ringfold::plan run(kernel{}, ringfold::make_problem<T>(ringfold::contiguous(tokens, 1), turned, e.shape, e.mask));
    run.forward(e.q.as<T>(), k.as<T>(), v.as<T>(), made.as<T>());
  });
  return made;
}

}  // namespace compare_schedules
