#include <ringfold/testing/scan_laws.hpp>

#include <doctest/doctest.h>

#include <random>
#include <string>

#include <ringfold/algebra/complex_affine.hpp>
#include <ringfold/algebra/stabilised.hpp>
#include <ringfold/algebra/timed_affine.hpp>
#include <ringfold/algebra/window.hpp>

#include "sharded.hpp"

using namespace ringfold;

namespace {

/// Random states and elements of an algebra; gate(uniform number in [0, 1)) makes the numbers of gates.
template <class G>
struct drawn {
  sharded::workspace memory{1 << 16};
  std::vector<typename G::state> states;
  std::vector<typename G::element> elements;

  template <class Gate>
  drawn(const G& g, Gate gate) {
    std::mt19937_64 random(7);
    std::uniform_real_distribution<double> numbers(0, 1);
    auto const fill = [&](const auto& view, auto make) {
      host_stream{}.elementwise(
          [&](auto& each) { each = static_cast<std::remove_reference_t<decltype(each)>>(make(numbers(random))); },
          view);
    };
    for (int i = 0; i < 4; ++i) {
      states.push_back(g.take_state(memory.arena())), elements.push_back(g.take_element(memory.arena()));
      fill(states.back(), [](double u) { return 2 * u - 1; });
      fill(elements.back().value, [](double u) { return 2 * u - 1; });
      fill(elements.back().gate, [&](double u) { return gate(u); });
    }
  }
};

using matrices = affine<double, transition::dense>;

struct not_associative : matrices {
  static void compose(host_stream on, const element& first, const element& then, const element& into) {
    matrices::compose(on, first, then, into);
    on.elementwise(elementwise::add_to{}, into.value, first.value);
  }
};
struct not_from_zero : matrices {
  static void apply(host_stream on, const state& s, const element& e, const state& into) {
    matrices::apply(on, s, e, into);
    on.elementwise([](double& each) { each += 1e-3; }, into);
  }
};
struct no_action : matrices {
  static void compose(host_stream on, const element&, const element& then, const element& into) {
    on.copy(piece_of(into.gate, role::state), piece_of(then.gate, role::state));
    on.copy(piece_of(into.value, role::state), piece_of(then.value, role::state));
  }
};
struct mixed : matrices {
  static void apply(host_stream on, const state& s, const element& e, const state& into) {
    matrices::apply(on, s, e, into);
    into(0, 0, 0, 0) += s.data[4] - s.data[3];  // of a column that need not be there
  }
};
struct too_short : matrices {
  using matrices::part;
  static state part(const state& s, int index, int count) {
    return matrices::part(slice(s, 3, 0, s.extents[3] - (count > 1 ? 1 : 0)), index, count);
  }
  static element part(const element& e, int index, int count) { return {e.gate, part(e.value, index, count)}; }
};
struct not_transposed : matrices {
  static element transposed(const element& e, const state& value) { return {e.gate, value}; }
};

template <class G>
const char* broken(const G& g) {
  static line said;
  drawn<G> const d(g, [](double u) { return u - 0.5; });
  try {
    scan_laws(g, d.elements, d.states, 1e-13);
  } catch (const law_violation& e) {
    said = say("%s", e.what());
    return said.text;
  }
  return "";
}

}  // namespace

TEST_CASE("the algebras of scans keep the laws") {
  auto const decay = [](double u) { return -3 * u; };
  //! [scan_laws]
  affine<double, transition::diagonal> const decays{1, 2, 3, 5};
  drawn const some(decays, decay);  // elements and states to try
  scan_laws(decays, some.elements, some.states, 1e-14);
  //! [scan_laws]
  auto const keeps = [](auto algebra, double bound, auto gate) {
    drawn const d(algebra, gate);
    scan_laws(algebra, d.elements, d.states, bound);
  };
  keeps(affine<double, transition::identity>{2, 1, 3, 4}, 1e-14, decay);
  keeps(affine<float, transition::scalar>{2, 1, 3, 4}, 1e-6, decay);
  keeps(affine<double, transition::elementwise>{2, 1, 3, 4}, 1e-14, decay);
  keeps(matrices{1, 2, 3, 4}, 1e-14, [](double u) { return u - 0.5; });
  keeps(complex_affine<double>{1, 1, 2, 4}, 1e-14, [](double u) { return u - 0.5; });
  keeps(token_window<double>{1, 1, 3, 4}, 1e-14, [](double u) { return static_cast<int>(4 * u); });
  keeps(stabilised<double>{1, 2, 4, 3}, 1e-14, decay);
  double rates[] = {-1, -2, -3, -0.5, 0, -1e-3};
  keeps(timed_affine<double>{2, 1, 2, 3, dense(rates, 1, 1, 2, 3)}, 1e-14, [](double u) { return 2 * u; });
}

TEST_CASE("each law finds who breaks it") {
  auto const says = [](const char* text, const char* law) { return std::string(text).find(law) == 0; };
  CHECK(says(broken(not_associative{{1, 1, 3, 5}}), "associativity"));
  CHECK(says(broken(not_from_zero{{1, 1, 3, 5}}), "value_of"));
  CHECK(says(broken(no_action{{1, 1, 3, 5}}), "action"));
  CHECK(says(broken(mixed{{1, 1, 3, 5}}), "parts: part 0"));
  CHECK(says(broken(too_short{{1, 1, 3, 5}}), "parts: 2 parts have 12 numbers together; the state has 15"));
  CHECK(says(broken(not_transposed{{1, 1, 3, 5}}), "adjoint"));
  CHECK(says(broken(matrices{1, 1, 3, 5}), ""));
}
