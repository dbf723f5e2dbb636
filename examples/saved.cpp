// Between the passes: four layers of causal ring attention on 4 ranks keep in memory what backward needs, or write it to
// a file and read it back, or make it again from the input of each layer. The gradients must be the same bits.

#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <vector>

#include <ringfold/attention/backward_plan.hpp>
#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/kernel/cpu/flash.hpp>

using namespace ringfold;

namespace {

constexpr int ranks = 4, layers = 4;
constexpr extent rows = 64, head_count = 4, dim = 32;

/// Counts the bytes that a rank holds.
thread_local std::size_t held = 0;
template <class T>
struct counting : std::allocator<T> {
  counting() = default;
  template <class U>
  counting(const counting<U>&) {}
  T* allocate(std::size_t count) {
    held += count * sizeof(T);
    return std::allocator<T>::allocate(count);
  }
  void deallocate(T* at, std::size_t count) {
    held -= count * sizeof(T);
    std::allocator<T>::deallocate(at, count);
  }
};
using numbers = std::vector<float, counting<float>>;

view<float, 4> tensor(numbers& of) { return dense(of.data(), 1, rows, head_count, dim); }

/// A rank's tensors of one layer. Its projections are a gain each, which is all that this example needs of them.
struct layer {
  static constexpr float gains[] = {1.25F, 0.75F, -1.5F};  // of q, k and v
  numbers q, k, v, out, lse;

  explicit layer(const numbers& input) : q(input), k(input), v(input), out(input.size()), lse(rows * head_count) {
    for (float& each : q) each *= gains[0];
    for (float& each : k) each *= gains[1];
    for (float& each : v) each *= gains[2];
  }
  template <class Plan>
  saved<float> forward(Plan& attend) {
    return attend.forward(tensor(q), tensor(k), tensor(v), tensor(out), dense(lse.data(), 1, rows, head_count));
  }
};

/// Makes the gradient of a layer's output that of its input.
template <class Plan>
void backward(Plan& attend, const saved<float>& kept, numbers& gradient) {
  numbers dq(gradient.size()), dk = dq, dv = dq;
  attend.backward(kept, tensor(gradient), tensor(dq), tensor(dk), tensor(dv));
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    gradient[i] = layer::gains[0] * dq[i] + layer::gains[1] * dk[i] + layer::gains[2] * dv[i];
  }
}

/// Tensors in a file, each known by its role; a layer has one of each.
class shelf {
 public:
  explicit shelf(std::FILE* file) : file_(file) {}

  //! [offload]
  /// Writes a tensor, which keeps its extents and has no memory from now on.
  template <class V>
  V put(role what, V of) {
    places_[static_cast<int>(what)] = end();
    if (std::fwrite(of.data, sizeof *of.data, size(of), file_) != size(of)) throw std::runtime_error("cannot write");
    of.data = nullptr;
    return of;
  }
  /// Reads it back into memory of the shelf's.
  template <class V>
  V take(role what, V of) {
    auto& memory = memory_[static_cast<int>(what)];
    memory.resize(size(of));
    std::fseek(file_, places_[static_cast<int>(what)], SEEK_SET);
    if (std::fread(memory.data(), sizeof(float), size(of), file_) != size(of)) throw std::runtime_error("cannot read");
    of.data = memory.data();
    return of;
  }
  //! [offload]

  long end() {
    std::fseek(file_, 0, SEEK_END);
    return std::ftell(file_);
  }

 private:
  template <class V>
  static std::size_t size(const V& of) {
    return static_cast<std::size_t>(of.size());
  }

  std::FILE* file_;
  long places_[role_count] = {};
  numbers memory_[role_count];
};

/// What one rank got, and the bytes that it held in memory and in a file between the passes.
struct outcome {
  numbers output, gradient;
  std::size_t memory = 0, file = 0;
};

numbers drawn(int rank, unsigned seed) {
  std::mt19937 random(seed + static_cast<unsigned>(rank));
  std::uniform_real_distribution<float> number(-1, 1);
  numbers made(rows * head_count * dim);
  for (float& each : made) each = number(random);
  return made;
}

template <class Forward, class Backward>
outcome keep_all(numbers x, numbers gradient, Forward& attend, Backward& back) {
  std::size_t const before = held;
  std::vector<std::unique_ptr<layer>> alive;
  std::vector<saved<float>> kept;
  for (int i = 0; i < layers; ++i) {
    layer& l = *alive.emplace_back(std::make_unique<layer>(x));
    kept.push_back(l.forward(attend));
    x = l.out;
  }
  std::size_t const memory = held - before;
  for (int i = layers; i-- > 0;) backward(back, kept[static_cast<std::size_t>(i)], gradient);
  return {x, gradient, memory, 0};
}

template <class Forward, class Backward>
outcome offload(numbers x, numbers gradient, Forward& attend, Backward& back) {
  std::size_t const before = held;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> const file(std::tmpfile(), std::fclose);
  if (!file) throw std::runtime_error("no temporary file");
  std::vector<shelf> shelves(layers, shelf(file.get()));
  std::vector<saved<float>> kept;
  for (shelf& each : shelves) {
    layer l(x);
    //! [offload calls]
    kept.push_back(l.forward(attend).moved_by([&](role what, auto of) { return each.put(what, of); }));
    //! [offload calls]
    x = l.out;
  }  // a layer's memory ends here
  std::size_t const memory = held - before, in_file = static_cast<std::size_t>(shelves.back().end());
  while (!kept.empty()) {
    shelf& last = shelves.back();
    backward(back, kept.back().moved_by([&](role what, auto of) { return last.take(what, of); }), gradient);
    kept.pop_back(), shelves.pop_back();
  }
  return {x, gradient, memory, in_file};
}

template <class Forward, class Backward>
outcome recompute(numbers x, numbers gradient, Forward& attend, Backward& back) {
  std::size_t const before = held;
  std::vector<numbers> inputs;
  for (int i = 0; i < layers; ++i) {
    inputs.push_back(x);
    layer l(x);
    l.forward(attend);
    x = l.out;
  }
  std::size_t const memory = held - before;
  for (; !inputs.empty(); inputs.pop_back()) {
    //! [recompute]
    layer again(inputs.back());
    backward(back, again.forward(attend), gradient);
    //! [recompute]
  }
  return {x, gradient, memory, 0};
}

}  // namespace

int main() {
  outcome total[3];
  bool same = true;
  std::mutex guard;
  run_ranks(ranks, [&](threads comm) {
    auto const attend = ring(comm, flash_kernel{});
    auto const problem = make_problem<float>(zigzag(rows * ranks, ranks), {.heads = head_count, .dim = dim}, causal());
    plan forward(attend, problem);
    backward_plan back(attend, problem);
    numbers const x = drawn(comm.rank(), 1), gradient = drawn(comm.rank(), 100);
    outcome const all[] = {keep_all(x, gradient, forward, back), offload(x, gradient, forward, back),
                           recompute(x, gradient, forward, back)};
    std::lock_guard const lock(guard);
    for (int i = 0; i < 3; ++i) {
      total[i].memory += all[i].memory, total[i].file += all[i].file;
      for (auto part : {&outcome::output, &outcome::gradient}) {
        same = same && std::memcmp((all[i].*part).data(), (all[0].*part).data(), x.size() * sizeof(float)) == 0;
      }
    }
  });
  const char* const names[] = {"keep", "offload", "recompute"};
  fmt::print("{:10} {:>14} {:>12}\n", "", "KiB in memory", "KiB in file");
  for (int i = 0; i < 3; ++i) fmt::print("{:10} {:14} {:12}\n", names[i], total[i].memory / 1024, total[i].file / 1024);
  fmt::print("outputs and gradients: {}\n", same ? "the same bits" : "other bits");
  std::size_t const token = head_count * dim * sizeof(float), all_tokens = std::size_t{layers} * ranks * rows;
  bool const counted = total[0].memory == all_tokens * (4 * token + head_count * sizeof(float)) &&
                       total[1].memory == 0 && total[1].file == total[0].memory &&
                       total[2].memory == all_tokens * token && total[2].file == 0;
  return same && counted ? 0 : 1;
}
