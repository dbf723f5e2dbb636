#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <ringfold/comm/mpi_environment.hpp>

// A step of a ring through ringfold::mpi beside the same messages by MPI_Isend, MPI_Irecv and MPI_Waitall, in turns:
// keys and values go to the next rank and come from the previous one.
//   mpirun -np 2 --mca btl_vader_single_copy_mechanism none mpi_bench [samples]

using namespace ringfold;

namespace {

struct block {
  std::vector<float> k, v;
  explicit block(extent bytes) : k(static_cast<std::size_t>(bytes) / sizeof(float) / 2, 1.f), v(k) {}
};

void step_of_ringfold(mpi& comm, block& from, block& to) {
  int const next = (comm.rank() + 1) % comm.size(), previous = (comm.rank() + comm.size() - 1) % comm.size();
  auto const rows = [](std::vector<float>& of) { return dense(of.data(), static_cast<extent>(of.size())); };
  piece const sends[] = {piece_of(rows(from.k), role::key, next), piece_of(rows(from.v), role::value, next)};
  piece const receives[] = {piece_of(rows(to.k), role::key, previous), piece_of(rows(to.v), role::value, previous)};
  auto posted = comm.post({.sends = sends, .receives = receives}, {});
  posted.arrived({});
  posted.reusable({});
}

void step_of_mpi(const mpi& comm, block& from, block& to) {
  int const next = (comm.rank() + 1) % comm.size(), previous = (comm.rank() + comm.size() - 1) % comm.size();
  int const bytes = static_cast<int>(from.k.size() * sizeof(float));
  MPI_Request all[4];
  MPI_Irecv(to.k.data(), bytes, MPI_BYTE, previous, 0, MPI_COMM_WORLD, &all[0]);
  MPI_Irecv(to.v.data(), bytes, MPI_BYTE, previous, 0, MPI_COMM_WORLD, &all[1]);
  MPI_Isend(from.k.data(), bytes, MPI_BYTE, next, 0, MPI_COMM_WORLD, &all[2]);
  MPI_Isend(from.v.data(), bytes, MPI_BYTE, next, 0, MPI_COMM_WORLD, &all[3]);
  MPI_Waitall(4, all, MPI_STATUSES_IGNORE);
}

/// Seconds of a step, as the slowest rank has it.
template <class F>
double seconds_of(int steps, F step) {
  MPI_Barrier(MPI_COMM_WORLD);
  double const start = MPI_Wtime();
  for (int i = 0; i < steps; ++i) step();
  double const own = (MPI_Wtime() - start) / steps;
  double slowest = 0;
  MPI_Allreduce(&own, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return slowest;
}

double median(std::vector<double> of) {
  std::nth_element(of.begin(), of.begin() + static_cast<std::ptrdiff_t>(of.size() / 2), of.end());
  return of[of.size() / 2];
}

void compare(mpi& comm, extent bytes, int samples) {
  block a(bytes), b(bytes);
  int const steps = static_cast<int>(std::max(extent{2}, (extent{16} << 20) / bytes));
  std::vector<double> ours, theirs, ratios;
  for (int sample = -2; sample < samples; ++sample) {  // the first ones find memory
    auto const one = [&] { return seconds_of(steps, [&] { step_of_ringfold(comm, a, b); }); };
    auto const other = [&] { return seconds_of(steps, [&] { step_of_mpi(comm, a, b); }); };
    // Whoever comes second finds what the first left behind.
    bool const first = sample % 2 == 0;
    double const before = first ? one() : other(), after = first ? other() : one();
    if (sample < 0) continue;
    ours.push_back(first ? before : after), theirs.push_back(first ? after : before);
    ratios.push_back(ours.back() / theirs.back());
  }
  if (comm.rank() != 0) return;
  std::printf("%8lld %12.2f %12.2f %9.3f %9.3f %9.3f\n", static_cast<long long>(bytes >> 10), median(theirs) * 1e6,
              median(ours) * 1e6, median(ours) / median(theirs), median(ratios),
              *std::min_element(ours.begin(), ours.end()) / *std::min_element(theirs.begin(), theirs.end()));
}

}  // namespace

int main(int argc, char** argv) {
  return with_mpi(argc, argv, [&](mpi& comm) {
    int const samples = argc > 1 ? std::atoi(argv[1]) : 101;
    if (samples < 1) throw usage_error(say("mpi_bench: %d samples; at least 1 is needed", samples));
    char version[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    MPI_Get_library_version(version, &length);
    if (comm.rank() == 0) {
      std::printf("%s\n%d ranks, %d samples; us of a step, medians, and ringfold / MPI\n\n", version, comm.size(),
                  samples);
      std::printf("%8s %12s %12s %9s %9s %9s\n", "KiB", "MPI us", "ringfold us", "ratio", "in pairs", "of bests");
    }
    for (extent const kib : {64, 512, 4096}) compare(comm, kib << 10, samples);
  });
}
