// sanitize: threads
#include <ringfold/core/executor.hpp>

#include <doctest/doctest.h>

#include <stdexcept>
#include <vector>

#include "erratic.hpp"

using namespace ringfold;

static_assert(executor<in_place> && executor<erratic> && executor<boastful>);
static_assert(!executor<int>);

TEST_CASE_TEMPLATE("every piece is handed out once, to one worker at a time", E, in_place, erratic, boastful) {
  E const on = [] {
    if constexpr (std::is_same_v<E, erratic>) return E{3};
    if constexpr (!std::is_same_v<E, erratic>) return E{};
  }();
  for (extent count : {0, 1, 2, 7, 200}) {
    std::vector<int> calls(static_cast<std::size_t>(count));
    std::vector<std::atomic<int>> busy(static_cast<std::size_t>(on.workers()));
    std::atomic<int> wrong{0};
    detail::hand_out(on, on.workers(), count, [&](extent i, int worker) {
      if (busy[static_cast<std::size_t>(worker)]++ != 0) ++wrong;
      ++calls[static_cast<std::size_t>(i)];
      --busy[static_cast<std::size_t>(worker)];
    });
    CHECK(wrong == 0);
    for (int each : calls) CHECK(each == 1);
  }
}

TEST_CASE_TEMPLATE("a failure is thrown by hand_out, and what has not begun never does", E, in_place, erratic,
                   boastful) {
  E const on = [] {
    if constexpr (std::is_same_v<E, erratic>) return E{4};
    if constexpr (!std::is_same_v<E, erratic>) return E{};
  }();
  std::atomic<int> begun{0};
  auto const fail = [&] {
    detail::hand_out(on, on.workers(), 1000, [&](extent i, int) {
      ++begun;
      if (i == 5) throw std::runtime_error("piece 5");
    });
  };
  CHECK_THROWS_WITH_AS(fail(), "piece 5", std::runtime_error);
  CHECK(begun >= 6);
  CHECK(begun < 1000);
}

TEST_CASE("links of a chain keep their order, and where one breaks off, all behind it do") {
  constexpr extent links = 6, places = 50;
  for (bool const fails : {false, true}) {
    std::vector<detail::footprints::steps> steps(links);
    std::vector<std::vector<extent>> visits(places);
    auto const run = [&] {
      detail::hand_out(erratic{3}, 3, links, [&](extent link, int) {
        auto* const mine = steps.data() + link;
        detail::footprints trace(mine, link == 0 ? nullptr : mine - 1, places);
        for (extent place = 0; place < places; ++place) {
          if (fails && link == 2 && place == 20) throw std::runtime_error("link 2");
          if (!trace.follow(place + 1)) return;
          visits[static_cast<std::size_t>(place)].push_back(link);
          trace.advance(1);
        }
      });
    };
    if (fails) CHECK_THROWS_WITH_AS(run(), "link 2", std::runtime_error);
    if (!fails) run();
    for (std::size_t place = 0; place < places; ++place) {
      auto const& each = visits[place];
      for (std::size_t i = 0; i < each.size(); ++i) CHECK(each[i] == static_cast<extent>(i));
      if (!fails) CHECK(each.size() == links);
      if (fails && place >= 20) CHECK(each.size() <= 2);
    }
  }
}
