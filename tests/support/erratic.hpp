#pragma once

#include <thread>
#include <vector>

/// \file
/// Executors as bad as they may be.

/// Runs every piece on a thread of its own, the last one first.
struct erratic {
  int count;
  int workers() const { return count; }
  template <class F>
  void run(int pieces, F&& f) const {
    std::vector<std::thread> threads;
    for (int i = pieces - 1; i >= 0; --i) {
      threads.emplace_back([&f, i] {
        for (int turn = 0; turn < i; ++turn) std::this_thread::yield();
        f(i);
      });
    }
    for (std::thread& each : threads) each.join();
  }
};

/// Promises many workers, and runs all pieces one after the other.
struct boastful {
  int workers() const { return 5; }
  template <class F>
  void run(int pieces, F&& f) const {
    for (int i = pieces - 1; i >= 0; --i) f(i);
  }
};

/// Has two workers when it is asked by a state, more when it is asked again; remembers how many pieces it ran at most.
struct fickle {
  mutable int asked = 0, most = 0;
  int workers() const { return ++asked <= 2 ? 2 : 7; }
  template <class F>
  void run(int pieces, F&& f) const {
    most = pieces > most ? pieces : most;
    boastful{}.run(pieces, f);
  }
};
