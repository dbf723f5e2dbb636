#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>

#include <fmt/core.h>

#include "report.hpp"
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
  if (where.first) check_writable("--json", o.json), check_writable("--trace", o.trace);
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
    if (std::string const why = refusal(*each, o.ranks, in.e.shape.heads); !why.empty()) {
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

int start(int argc, char** argv, launched started) {
  options const o = parse(argc, argv, started);
  if (o.help) return 0;
  inputs const in = load(o);
  if (started.ranks == 0) return run(o, in, {.ranks = o.ranks}, false);
#ifdef RINGFOLD_WITH_MPI
  return ringfold::with_mpi(argc, argv,
                            [&](ringfold::mpi& all) {
                              if (all.size() != o.ranks) {
                                throw ringfold::usage_error(
                                    ringfold::say("--ranks: mpirun started %d processes, MPI has %d; allowed: the MPI "
                                                  "that this program was built with",
                                                  o.ranks, all.size()));
                              }
                              return run(o, in, {.ranks = o.ranks, .first = all.rank() == 0, .processes = &all}, true);
                            },
                            {.deadline = longest_wait});
#else
  throw ringfold::usage_error(
      ringfold::say("mpirun started %d processes, but this program was built without MPI; allowed: "
                    "--ranks %d without mpirun",
                    started.ranks, started.ranks));
#endif
}

}  // namespace
}  // namespace compare_schedules

int main(int argc, char** argv) {
  auto const started = compare_schedules::by_mpirun();
  auto const fail = [&](const char* why, int code) {
    if (started.rank == 0) fmt::print(stderr, "compare_schedules: {}\n", why);
    return code;
  };
  try {
    return compare_schedules::start(argc, argv, started);
  } catch (const ringfold::usage_error& e) {
    return fail(e.what(), 2);
  } catch (const std::bad_alloc&) {
    return fail("out of memory; a smaller --seq, --batch, --heads or --dim needs less", 1);
  } catch (const std::exception& e) {
    return fail(e.what(), 1);
  }
}
