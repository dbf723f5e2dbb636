#include <mpi_main.hpp>

#include <ringfold/attention/canonical.hpp>
#include <ringfold/attention/direct.hpp>
#include <ringfold/attention/gather.hpp>
#include <ringfold/attention/query_ring.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/attention/split_kv.hpp>
#include <ringfold/attention/ulysses.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/testing/attention_laws.hpp>
#include <ringfold/testing/backward_laws.hpp>
#include <ringfold/testing/communicator_laws.hpp>

using namespace ringfold;

namespace {

mpi_options soon() {
  mpi_options options;
  options.deadline = std::chrono::seconds(20);
  return options;
}

}  // namespace

TEST_CASE("the laws of a communicator") {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) communicator_laws(mpi(MPI_COMM_WORLD, soon()), seed);
}

TEST_CASE("the laws of a communicator, without MPI's buffers") {
  mpi_options options = soon();
  options.synchronous_sends = true;
  communicator_laws(mpi(MPI_COMM_WORLD, options), 1);
}

TEST_CASE("the laws of a communicator, with long messages split") {
  mpi_options options = soon();
  options.max_message_bytes = 1001;
  communicator_laws(mpi(MPI_COMM_WORLD, options), 1);
}

TEST_CASE("the laws of an attention over ranks") {
  mpi const comm(MPI_COMM_WORLD, soon());
  int const columns = comm.size() % 2 == 0 ? 2 : 1;
  auto const ranks = grid(comm, comm.size() / columns, columns);
  attention_laws<float>(ring(comm, reference_kernel{}));
  attention_laws<float>(gather(comm, reference_kernel{}));
  attention_laws<float>(direct(comm, reference_kernel{}));
  attention_laws<float>(ulysses(ranks.row(), ring(ranks.col(), reference_kernel{})));
  attention_laws<float>(query_ring(comm, reference_kernel{}));
  attention_laws<float>(split_kv(comm, reference_kernel{}, reduction::tree));
  attention_laws<float>(query_ring(ranks.col(), split_kv(ranks.row(), reference_kernel{})));
}

TEST_CASE("the laws of a backward pass over ranks") {
  mpi const comm(MPI_COMM_WORLD, soon());
  int const columns = comm.size() % 2 == 0 ? 2 : 1;
  auto const ranks = grid(comm, comm.size() / columns, columns);
  backward_laws<float>(ring(comm, reference_kernel{}));
  backward_laws<float>(ring(comm, canonical(reference_kernel{}, 1)));
  backward_laws<bf16>(gather(comm, reference_kernel{}));
  backward_laws<bf16>(direct(comm, reference_kernel{}));
  backward_laws<float>(ulysses(ranks.row(), ring(ranks.col(), reference_kernel{})));
  backward_laws<float>(query_ring(comm, reference_kernel{}));
  backward_laws<float>(split_kv(comm, reference_kernel{}, reduction::tree));
  backward_laws<float>(query_ring(ranks.col(), split_kv(ranks.row(), reference_kernel{})));
}
