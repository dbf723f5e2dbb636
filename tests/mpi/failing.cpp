// What goes wrong on one rank, for failure_test.cmake to look at from outside: failing <what>

#include <unistd.h>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <vector>

#include <ringfold/comm/mpi_environment.hpp>

using namespace ringfold;

namespace {

bool is(char** argv, const char* what) { return std::strcmp(argv[1], what) == 0; }

/// Passes memory around a ring for ten steps; calls f(step) while the step's messages are in flight.
template <class F>
void ring(mpi& comm, F f, std::size_t count = 1 << 16) {
  int const me = comm.rank(), size = comm.size();
  std::vector<double> out(count, me), in(count);
  for (int step = 0; step < 10; ++step) {
    piece const send = piece_of(dense(out.data(), out.size()), role::other, (me + 1) % size);
    piece const receive = piece_of(dense(in.data(), in.size()), role::other, (me + size - 1) % size);
    auto request = comm.post({{&send, 1}, {&receive, 1}}, {});
    f(step);
    request.arrived({});
    request.reusable({});
    out.swap(in);
  }
}

int run(mpi& comm, char** argv) {
  int const me = comm.rank();
  auto const nothing = [](int) {};
  if (is(argv, "throws")) {
    ring(comm, [&](int step) {
      if (me == 1 && step == 3) throw std::runtime_error("the kernel gave up at step 3");
    });
  } else if (is(argv, "poisons")) {
    // The others compute for long: without poison, unwinding would wait for them to take what was sent.
    ring(comm, [&](int step) {
      if (me != 1 && step == 3) sleep(20);
      or_poison(comm, [&] {
        if (me == 1 && step == 3) throw std::runtime_error("the kernel gave up at step 3");
      });
    });
  } else if (is(argv, "misuses")) {
    throw usage_error(say("heads: 7 are not a multiple of 2"));
  } else if (is(argv, "stops")) {
    ring(comm, [&](int step) {
      if (me == 1 && step == 3) std::raise(SIGSTOP);
    });
  } else if (is(argv, "dies")) {
    ring(comm, [&](int step) {
      if (me == 1 && step == 3) std::raise(SIGKILL);
    });
  } else if (is(argv, "leaves")) {
    if (me != 1) ring(comm, nothing);
  } else if (is(argv, "drops")) {
    double in = 0;
    piece const receive = piece_of(dense(&in, 1), role::other, 1);
    if (me != 1) comm.post({{}, {&receive, 1}}, {});
  } else if (is(argv, "disagrees")) {
    ring(comm, nothing, me == 1 ? 9 : 10);
  } else {
    std::fprintf(stderr, "failing: there is no %s\n", argv[1]);
    return 3;
  }
  return 0;
}

/// Calls f and tells whether it threw a usage_error.
template <class F>
bool refused(F f) {
  try {
    f();
  } catch (const usage_error& e) {
    std::printf("refused: %s\n", e.what());
    return true;
  }
  return false;
}

/// MPI that allows the main thread only, and objects that live longer than MPI.
int outside(int& argc, char**& argv) {
  bool good = refused([] { mpi const early(MPI_COMM_WORLD); });
  std::vector<mpi> kept;
  mpi::request unfinished;
  double in = 0;
  {
    mpi_environment const environment(argc, argv, MPI_THREAD_FUNNELED);
    good = refused([&] { mpi_environment const second(argc, argv); }) && good;
    mpi comm(MPI_COMM_WORLD);
    std::thread([&] {
      good = refused([] { mpi const elsewhere(MPI_COMM_WORLD); }) && good;
      good = refused([&] { comm.post({}, {}); }) && good;
    }).join();
    piece const receive = piece_of(dense(&in, 1), role::other, comm.rank());
    unfinished = comm.post({{}, {&receive, 1}}, {});
    kept.push_back(comm);
  }
  good = refused([] { mpi const late(MPI_COMM_WORLD); }) && good;
  return good ? 0 : 3;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 3;
  if (is(argv, "outside")) return outside(argc, argv);
  if (is(argv, "uncaught")) {
    mpi_environment const environment(argc, argv);
    mpi comm(MPI_COMM_WORLD);
    ring(comm, [&](int step) {
      if (comm.rank() == 1 && step == 3) throw std::runtime_error("nobody catches this");
    });
    return 0;
  }
  if (is(argv, "escapes")) {
    try {
      mpi_environment const environment(argc, argv);
      mpi comm(MPI_COMM_WORLD);
      ring(comm, [&](int step) {
        if (comm.rank() == 1 && step == 3) throw std::runtime_error("caught outside of MPI");
      });
    } catch (const std::exception&) {
      return 3;
    }
    return 0;
  }
  mpi_options options;
  options.deadline = std::chrono::seconds(1);
  return with_mpi(
      argc, argv, [&](mpi& comm) { return run(comm, argv); }, options);
}
