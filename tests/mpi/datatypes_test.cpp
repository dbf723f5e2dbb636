#include <mpi_main.hpp>

#include <vector>

#include <ringfold/comm/mpi_datatypes.hpp>

using namespace ringfold;

namespace {

detail::strided_runs runs(view<const float, 4> v) { return detail::runs_of(piece_of(v, role::other)); }

view<const float, 4> shaped(extent a, extent b, extent c, extent d) {
  return dense<>(static_cast<const float*>(nullptr), a, b, c, d);
}

int bytes_of(MPI_Datatype type) {
  int size = -1;
  MPI_Type_size(type, &size);
  return size;
}

}  // namespace

TEST_CASE("axes that follow each other in memory are folded") {
  CHECK(runs(shaped(2, 3, 4, 5)) == detail::strided_runs{480, 0, {}, {}});
  CHECK(runs(shaped(2, 0, 4, 5)) == detail::strided_runs{});
  // Half of each row: one axis of rows, over all batches.
  CHECK(runs(slice(shaped(2, 3, 4, 5), head_axis, 1, 2)) == detail::strided_runs{40, 1, {6}, {80}});
  // Some rows of each batch.
  CHECK(runs(slice(shaped(2, 3, 4, 5), row_axis, 0, 2)) == detail::strided_runs{160, 1, {2}, {240}});
  // Heads before rows.
  CHECK(runs(transposed(shaped(2, 3, 4, 5), row_axis, head_axis)) ==
        detail::strided_runs{20, 3, {3, 4, 2}, {80, 20, 240}});
  CHECK(runs(transposed(shaped(1, 1, 4, 5), head_axis, dim_axis)) == detail::strided_runs{4, 2, {4, 5}, {20, 4}});
}

TEST_CASE("a datatype stays as long as somebody uses it, and is found again") {
  detail::mpi_datatypes types;
  auto const shape = [](extent rows) { return detail::strided_runs{8, 1, {rows}, {16}}; };
  std::vector<MPI_Datatype> kept;
  for (extent rows = 2; rows < 200; ++rows) kept.push_back(types.take(shape(rows)));
  for (extent rows = 2; rows < 200; ++rows) {
    MPI_Datatype const type = kept[static_cast<std::size_t>(rows - 2)];
    CHECK(bytes_of(type) == 8 * rows);
    CHECK(types.take(shape(rows)) == type);
    types.give(type);
    types.give(type);
  }
  MPI_Datatype const held = types.take(shape(7));
  for (extent rows = 200; rows < 400; ++rows) types.give(types.take(shape(rows)));
  CHECK(types.take(shape(7)) == held);
  CHECK(bytes_of(held) == 56);
}

TEST_CASE("a datatype describes its memory") {
  std::vector<int> memory(60), packed(60, -1);
  for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<int>(i);
  detail::mpi_datatypes types;
  view<float, 3> const v{reinterpret_cast<float*>(memory.data()) + 40, {2, 3, 2}, {4, -12, 1}};
  MPI_Datatype const type = types.take(detail::runs_of(piece_of(v, role::other)));
  int at = 0;
  MPI_Pack(v.data, 1, type, packed.data(), static_cast<int>(packed.size() * sizeof(int)), &at, MPI_COMM_SELF);
  CHECK(at == 12 * static_cast<int>(sizeof(int)));
  packed.resize(12);
  CHECK(packed == std::vector<int>{40, 41, 28, 29, 16, 17, 44, 45, 32, 33, 20, 21});
  types.give(type);
}
