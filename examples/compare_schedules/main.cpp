#include <algorithm>
#include <cstdlib>
#include <exception>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "collect.hpp"
#include "report.hpp"
#include "support/guarded.hpp"
#include "support/output.hpp"
#include "world.hpp"

#ifdef RINGFOLD_WITH_MPI
#include <ringfold/comm/mpi_environment.hpp>
#endif

namespace compare_schedules {
namespace {

/// What Open MPI, MPICH and their kin leave in the environment of the processes that they start.
launched by_mpirun() {
  auto const number = [](const char* name) {
    const char* const text = std::getenv(name);
    return text != nullptr ? std::atoi(text) : 0;
  };
  for (auto const& [rank, ranks] :
       {std::pair{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"}, {"PMI_RANK", "PMI_SIZE"}}) {
    if (number(ranks) > 0) return {number(rank), number(ranks)};
  }
  return {};
}

/// Runs the chosen schedules; 0 when everything was right.
int run(const options& o, const inputs& in, const world& where, bool processes) {
  progress show(where.first);
  table out(o.json == "-" ? stderr : stdout, o, in, processes);
  baseline base;
  if (where.first) {
    base = make_baseline(in, show);
    show.clear();
    out.begin(base);
  }
  std::vector<result> results;
  for (const schedule* each : o.chosen) {
    if (std::string const why = refusal(*each, o.ranks, in.e.shape.heads, o.chunk > 0); !why.empty()) {
      if (where.first) out.left_out(*each, why);
      continue;
    }
    measurement did = measure(*each, in.e, where, !o.trace.empty(), show);
    if (!where.first) continue;
    results.push_back(judge(*each, std::move(did), in.e, base));
    show.clear();
    out.row(results.back());
  }
  if (!where.first) return 0;
  bool const right = out.end(base, results);
  if (!o.json.empty()) write_json(o.json, o, in.e, results);
  if (!o.trace.empty()) write_trace(o.trace, results);
  return right ? 0 : 1;
}

/// All that can be wrong with a call is found here.
struct call_to_run {
  options o;
  inputs in;

  call_to_run(int argc, char** argv, launched started) : o(parse(argc, argv, started)) {
    if (o.help) return;
    in = load(o);
    if (started.rank != 0) return;
    ringfold::examples::check_writable("--json", o.json), ringfold::examples::check_writable("--trace", o.trace);
  }
};

#ifdef RINGFOLD_WITH_MPI
/// Ranks may find different things wrong, if they are on different machines: the first that does tells, all stop.
int start_process(int argc, char** argv, launched started, ringfold::mpi& all) {
  std::optional<call_to_run> c;
  std::string why;
  try {
    if (all.size() != started.ranks) {
      throw ringfold::usage_error(
          ringfold::say("mpirun started %d processes, and MPI knows of %d; allowed: the mpirun of "
                        "the MPI that this program was built with",
                        started.ranks, all.size()));
    }
    c.emplace(argc, argv, started);
  } catch (const ringfold::usage_error& e) {
    why = e.what();
  }
  auto const failed = everybody(all, !why.empty());
  auto const first = std::find(failed.begin(), failed.end(), char{1});
  if (first != failed.end()) {
    if (first - failed.begin() == all.rank()) fmt::print(stderr, "compare_schedules: {}\n", why);
    barrier(all);
    return 2;
  }
  return c->o.help ? 0 : run(c->o, c->in, {.ranks = c->o.ranks, .first = all.rank() == 0, .processes = &all}, true);
}
#endif

int start(int argc, char** argv) {
  launched const started = by_mpirun();
  if (started.ranks == 0) {
    call_to_run const c(argc, argv, started);
    return c.o.help ? 0 : run(c.o, c.in, {.ranks = c.o.ranks}, false);
  }
#ifdef RINGFOLD_WITH_MPI
  return ringfold::with_mpi(argc, argv, [&](ringfold::mpi& all) { return start_process(argc, argv, started, all); },
                            {.deadline = longest_wait});
#else
  if (started.rank != 0) return 2;
  throw ringfold::usage_error(ringfold::say(
      "mpirun started %d processes, but this program was built without MPI; allowed: --ranks %d without mpirun",
      started.ranks, started.ranks));
#endif
}

}  // namespace
}  // namespace compare_schedules

int main(int argc, char** argv) {
  return ringfold::examples::guarded("compare_schedules", [&] { return compare_schedules::start(argc, argv); });
}
