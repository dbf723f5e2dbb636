#include <ringfold/recurrence/selective_scan.hpp>

#include <doctest/doctest.h>

#include <limits>

#include "support/rules_over_ranks.hpp"

using namespace ringfold;
using namespace rules;

namespace {

/// Inputs: x, time, write, read, rates.
struct selective {
  extent states = 2, channels = 3, chunk = 4;
  double fastest = 3;

  selective_scan rule() const { return {chunk}; }
  std::vector<input> inputs() const {
    return {{channels}, {channels, true, 0, 1}, {states}, {states}, {states * channels, false, -fastest, 0}};
  }
  extent out_width() const { return channels; }
  extent state_size() const { return states * channels; }
  template <class T>
  auto problem(layout tokens, documents packed, extent batch, extent heads) const {
    return make_recurrence<T>(tokens, {.batch = batch, .heads = heads, .dim = states, .value_dim = channels}, packed);
  }

  template <class E, class N>
  void define(const E& e, values<N>& x) const {
    for (extent b = 0; b < e.batch; ++b) {
      for (extent h = 0; h < e.heads; ++h) {
        for (extent n = 0; n < states; ++n) {
          for (extent d = 0; d < channels; ++d) {
            N const rate = x.in[4][static_cast<std::size_t>((h * states + n) * channels + d)];
            N state = x.initial[e.of_head(b, h, n * channels + d, state_size())];
            for (extent t = 0; t < e.tokens; ++t) {
              auto const at = e.at(b, t, h, d, channels), of_state = e.at(b, t, h, n, states);
              N const time = x.in[1][at];
              if (e.begins(t)) state = 0;
              state = std::exp(time * rate) * state + time * x.in[0][at] * x.in[2][of_state];
              x.out[at] += x.in[3][of_state] * state;
            }
            x.final[e.of_head(b, h, n * channels + d, state_size())] = state;
          }
        }
      }
    }
  }

  template <class A>
  view<A, 3> rates(const view<A, 4>& of) const {
    return {of.data, {of.extents[2], states, channels}, {of.strides[2], channels, 1}};
  }
  template <class Tensors, class E, class S>
  Tensors tensors(const std::vector<E>& elements, const std::vector<S>& sums) const {
    return {elements[0], sums[1], elements[2], elements[3], rates(sums[4])};
  }
};

template <class T>
void check(selective spec, extent tokens, std::uint64_t seed, double bound) {
  check_by_hand<T>(experiment(spec, tokens, 2, 2, seed), seed, bound, std::max(bound, 1e-12));  // of the differences
}

}  // namespace

TEST_CASE("a selective scan and its gradients are those of the definition, however tokens are cut") {
  for (extent const tokens : {1, 2, 5, 11}) {
    check<double>({2, 3, 4}, tokens, 1, 1e-14);
    check<double>({3, 2, 1, 1e-3}, tokens, 2, 1e-14);
    check<double>({1, 1, 64, 8}, tokens, 3, 1e-14);
  }
}

TEST_CASE("a selective scan over ranks is the definition") {
  for_each_layout<double>(selective{2, 3, 4}, [](const auto& e, const auto& chain, const auto& joined) {
    for (const auto* each : {&chain, &joined}) {
      auto const off = apart(each->made, e.made);
      CHECK(off.out <= 1e-14);
      CHECK(off.gradients <= 1e-12);
    }
  });
}

TEST_CASE("narrow elements are summed in float") { check<bf16>({3, 4, 5}, 13, 6, 2e-6); }

TEST_CASE("time travels, its decays do not") {
  sharded::workspace memory(1 << 12);
  auto const p = make_recurrence<float>(contiguous(4, 1), {.batch = 2, .heads = 3, .dim = 16, .value_dim = 5});
  auto const of = selective_scan{}.algebra_for(p, memory.arena());
  arena<> measured;
  auto const sent = of.views(of.take_element(measured));
  CHECK(sent[0].size() == 2 * 3 * 5);
  CHECK(sent[1].size() == 2 * 3 * 16 * 5);
}

TEST_CASE("a selective scan in empty chunks is refused") {
  CHECK_THROWS_WITH_AS(selective_scan{0}.check(), "selective_scan: a chunk of 0 tokens; at least 1 is needed",
                       usage_error);
}

TEST_CASE("what travels is a state, or time beside it") {
  CHECK(sends<double>(experiment(selective{2, 3, 4}, 17, 1, 2, 3), 3));
}

TEST_CASE("states that could grow are refused") {
  float time[2] = {0, -1}, rates[2] = {-1, NAN};
  selective_tensors<const float> in{};
  in.time = dense(time, 1, 1, 1, 1), in.rates = dense(rates, 1, 1, 1);
  in.check_numbers("forward");
  in.time = dense(time, 1, 1, 1, 2);
  CHECK_THROWS_WITH_AS(in.check_numbers("forward"), "forward: time holds -1; allowed: at least 0, and finite",
                       usage_error);
  in.time = dense(time, 1, 1, 1, 1), in.rates = dense(rates, 1, 1, 2);
  CHECK_THROWS_AS(in.check_numbers("forward"), usage_error);
  // exp(0 x -inf) is no number.
  time[1] = INFINITY, rates[1] = -INFINITY;
  CHECK_THROWS_WITH_AS(in.check_numbers("forward"),
                       "forward: rates holds -inf; allowed: logarithms of decays, at most 0, and finite", usage_error);
  in.time = dense(time, 1, 1, 1, 2);
  CHECK_THROWS_WITH_AS(in.check_numbers("forward"), "forward: time holds inf; allowed: at least 0, and finite",
                       usage_error);
}

TEST_CASE("a chunk may be longer than any sequence") {
  auto const bytes = [](extent chunk) {
    arena<> measured;
    auto const p = make_recurrence<float>(contiguous(3, 1), {.dim = 20, .value_dim = 20});
    selective_scan{chunk}.backward_workspace_for(p, 3, measured);
    return measured.used();
  };
  CHECK(bytes(std::numeric_limits<extent>::max()) == bytes(3));
}
