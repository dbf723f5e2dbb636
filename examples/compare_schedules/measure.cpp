#include "measure.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <string>
#include <utility>

#include "collect.hpp"
#include "prepare.hpp"
#include "world.hpp"

#include <ringfold/comm/self.hpp>

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

/// Numbers per head in a type.
tensor numbers_of(dtype type, const std::vector<double>& numbers) {
  tensor made(type, 1, 1, 1, static_cast<extent>(numbers.size()));
  with_element(type, [&]<class T>(T) {
    for (std::size_t i = 0; i < numbers.size(); ++i)
      made.as<T>().data[i] = static_cast<T>(static_cast<float>(numbers[i]));
  });
  return made;
}

/// One rank's inputs, and room for its outputs, when it holds these queries and keys.
rank_tensors tensors_of(const experiment& e, const ringfold::layout& queries, const ringfold::layout& keys, int rank) {
  auto const& s = e.shape;
  extent const rows = queries.rows(rank), key_rows = keys.rows(rank);
  rank_tensors made{shard_of(e.q, queries, rank),
                    shard_of(e.k, keys, rank),
                    shard_of(e.v, keys, rank),
                    tensor(e.type, s.batch, rows, s.heads, s.value_dim),
                    tensor(e.sum_type(), s.batch, rows, s.heads, 1),
                    {},
                    {},
                    {},
                    {},
                    {},
                    {}};
  if (!e.sinks.empty()) made.sinks = numbers_of(e.sum_type(), e.sinks);
  if (!e.backward) return made;
  made.dout = shard_of(e.dout, queries, rank);
  made.dq = tensor(e.type, s.batch, rows, s.heads, s.dim);
  made.dk = tensor(e.type, s.batch, key_rows, s.kv_heads, s.dim);
  made.dv = tensor(e.type, s.batch, key_rows, s.kv_heads, s.value_dim);
  if (!e.sinks.empty()) made.dsinks = tensor(e.sum_type(), 1, 1, 1, s.heads);
  return made;
}

/// Warms up, then times each call from a barrier on; `outputs` must be the same bits after each.
template <class C, class Call>
void time(Call once, std::vector<const tensor*> outputs, const std::string& what, const experiment& e, C& comm,
          ringfold::counters& book, progress& show, calls& all, bool& repeatable) {
  std::vector<double> seconds;
  std::vector<std::vector<std::byte>> first;
  bool same = true;
  for (int i = 0; i <= e.repeats; ++i) {
    if (comm.rank() == 0) show.tell(what, i, e.repeats);
    book = {};
    barrier(comm);
    auto const start = clock::now();
    once();
    std::chrono::duration<double> const took = clock::now() - start;
    if (i > 0) seconds.push_back(took.count());
    for (std::size_t at = 0; at < outputs.size(); ++at) {
      if (i == 0) first.push_back(outputs[at]->bytes);
      same = same && outputs[at]->bytes == first[at];
    }
  }
  std::vector<extent> counted{book.total_bytes(), book.steps, same};
  collect(
      comm, counted, [](int) { return 3; },
      [&](int, const std::vector<extent>& theirs) {
        all.bytes.push_back(theirs[0]);
        all.steps.push_back(theirs[1]);
        repeatable = repeatable && theirs[2] != 0;
      });
  collect(
      comm, seconds, [&](int) { return e.repeats; },
      [&](int, const std::vector<double>& theirs) {
        all.seconds.resize(theirs.size());
        for (std::size_t i = 0; i < theirs.size(); ++i) all.seconds[i] = std::max(all.seconds[i], theirs[i]);
      });
}

/// Everybody's rows to their places in a whole tensor on rank 0.
template <class C>
void collect_rows(const ringfold::layout& tokens, C& comm, tensor& mine, tensor& whole) {
  extent const batch = mine.extents[0], heads = mine.extents[2], dim = mine.extents[3];
  if (comm.rank() == 0) whole = tensor(mine.type, batch, tokens.tokens(), heads, dim);
  collect(
      comm, mine.bytes, [&](int rank) { return batch * tokens.rows(rank) * heads * dim * mine.type.bytes(); },
      [&](int rank, std::vector<std::byte>& theirs) {
        with_element(mine.type, [&]<class T>(T) {
          auto const rows =
              ringfold::dense(reinterpret_cast<const T*>(theirs.data()), batch, tokens.rows(rank), heads, dim);
          for_each_row(tokens, rank, whole.as<T>(), rows,
                       [](auto at, auto from) { ringfold::host_stream{}.copy(at, from); });
        });
      });
}

template <class C>
void collect_gradients(const experiment& e, C& comm, rank_tensors& mine, gradients& all) {
  collect_rows(e.tokens, comm, mine.dq, all.q);
  collect_rows(e.keys, comm, mine.dk, all.k);
  collect_rows(e.keys, comm, mine.dv, all.v);
  if (comm.rank() == 0) all.sinks.assign(e.sinks.size(), 0.0);
  collect(
      comm, mine.dsinks.bytes, [&](int) { return static_cast<extent>(mine.dsinks.bytes.size()); },
      [&](int, const std::vector<std::byte>& theirs) {
        with_element(mine.dsinks.type, [&]<class T>(T) {
          for (std::size_t i = 0; i < all.sinks.size(); ++i) {
            all.sinks[i] += static_cast<double>(reinterpret_cast<const T*>(theirs.data())[i]);
          }
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
void record(const schedule& s, const experiment& e, C& comm, rank_tensors& mine, measurement& all) {
  ringfold::counters book;
  ringfold::trace_track track(common_start(comm), trace_records);
  auto const run = s.prepare(e, {comm}, book, track);
  barrier(comm);
  run->forward(mine);
  if (e.backward) run->backward(mine);
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
    rank_tensors mine = tensors_of(e, e.tokens, e.keys, comm.rank());
    {
      ringfold::counters book;
      ringfold::trace_track silent(clock::now(), 0);
      auto const run = s.prepare(e, {comm}, book, silent);
      std::string const name = s.name;
      time([&] { run->forward(mine); }, {&mine.out, &mine.lse}, name + ", repeats", e, comm, book, show, all.forward,
           all.repeatable);
      if (e.backward) {
        time([&] { run->backward(mine); }, {&mine.dq, &mine.dk, &mine.dv, &mine.dsinks}, name + " backward, repeats", e,
             comm, book, show, all.backward, all.repeatable);
      }
      std::vector<extent> room{run->workspace()};
      collect(
          comm, room, [](int) { return 1; },
          [&](int, const std::vector<extent>& theirs) { all.workspace = std::max(all.workspace, theirs[0]); });
    }
    collect_rows(e.tokens, comm, mine.out, all.out);
    if (e.backward) collect_gradients(e, comm, mine, all.slopes);
    if (trace) record(s, e, comm, mine, all);
  });
  return all;
}

namespace {

/// The experiment on one rank, with keys in an order of their own.
experiment on_one_rank(const experiment& e, ringfold::layout keys) {
  experiment alone = e;
  alone.tokens = ringfold::contiguous(e.tokens.tokens(), 1);
  alone.keys = std::move(keys);
  return alone;
}

/// Calls f until it has been timed often enough; the first call warms up, unless it is so long that once is enough.
template <class F>
std::vector<double> timed(int repeats, const char* what, progress& show, F f) {
  std::vector<double> seconds;
  for (int i = 0; i <= repeats; ++i) {
    show.tell(what, i, repeats);
    auto const start = clock::now();
    f();
    std::chrono::duration<double> const took = clock::now() - start;
    bool const enough = i == 0 && took > std::chrono::seconds(2);
    if (i > 0 || enough) seconds.push_back(took.count());
    if (enough) break;
  }
  return seconds;
}

/// What the kernel alone gives; times are taken where repeats are asked for.
measurement alone(const experiment& e, int repeats, progress* show) {
  rank_tensors mine = tensors_of(e, e.tokens, e.keys, 0);
  auto const run = e.chunk > 0 ? make_call(ringfold::canonical(kernel{}, e.chunk), e) : make_call(kernel{}, e);
  measurement made;
  made.workspace = run->workspace();
  if (show != nullptr) {
    made.forward.seconds = timed(repeats, "one rank alone, repeats", *show, [&] { run->forward(mine); });
  } else {
    run->forward(mine);
  }
  if (e.backward && show != nullptr) {
    made.backward.seconds = timed(repeats, "one rank alone backward, repeats", *show, [&] { run->backward(mine); });
  } else if (e.backward) {
    run->backward(mine);
  }
  ringfold::self here;
  collect_rows(e.tokens, here, mine.out, made.out);
  if (e.backward) collect_gradients(e, here, mine, made.slopes);
  return made;
}

}  // namespace

measurement measure_kernel(const experiment& e, progress& show) {
  return alone(on_one_rank(e, ringfold::contiguous(e.keys.tokens(), 1)), e.repeats, &show);
}

measurement kernel_results(const experiment& e, extent first_key) {
  extent const tokens = e.keys.tokens();
  return alone(on_one_rank(e, ringfold::layout(tokens, {{{first_key, 1, tokens - first_key}, {0, 1, first_key}}})), 0,
               nullptr);
}

}  // namespace compare_schedules
