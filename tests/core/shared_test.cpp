#include <ringfold/core/shared.hpp>

#include <doctest/doctest.h>

#include <thread>
#include <utility>
#include <vector>

using namespace ringfold;

namespace {

struct watched {
  int number;
  int* freed;
  watched(int n, int* f) : number(n), freed(f) {}
  watched(watched&& other) noexcept : number(other.number), freed(std::exchange(other.freed, nullptr)) {}
  ~watched() {
    if (freed != nullptr) ++*freed;
  }
};

}  // namespace

TEST_CASE("copies share one value, which goes with the last of them") {
  int freed = 0;
  {
    shared<watched> outer;
    CHECK(!outer);
    {
      shared<watched> first(watched(7, &freed));
      shared<watched> const second = first, third = std::move(first);
      CHECK(!first);
      CHECK(&*second == &*third);
      CHECK(second->number == 7);
      outer = third;
      auto& same = outer;
      outer = same;
      first = outer;
      first = shared<watched>();
    }
    CHECK(freed == 0);
    CHECK(outer->number == 7);
  }
  CHECK(freed == 1);
}

TEST_CASE("threads copy and drop handles of one value") {
  int freed = 0;
  {
    shared<watched> const whole(watched(1, &freed));
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&whole] {
        for (int turn = 0; turn < 2000; ++turn) shared<watched> const mine = whole;
      });
    }
    for (auto& each : threads) each.join();
    CHECK(freed == 0);
  }
  CHECK(freed == 1);
}
