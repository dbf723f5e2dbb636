#pragma once

#include <ringfold/recurrence/matrix.hpp>

/// \file
/// The states of a recurrence from the last to the first, without keeping all of them.

namespace ringfold::detail {

/// Memory for the states before every chunk of a part, and before every token of one chunk.
///
/// Source: checkpoints of states as in Mamba (Gu and Dao, 2023).
template <class A>
struct replay {
  extent chunk, size;  ///< tokens, numbers of a state
  matrix<A> starts, before;

  replay(extent tokens_at_once, extent most_tokens, extent state, arena<host_space>& memory)
      : chunk(tokens_at_once),
        size(state),
        starts(take_matrix<A>(memory, most_tokens / chunk + (most_tokens % chunk == 0 ? 0 : 1), state)),
        before(take_matrix<A>(memory, most_tokens < chunk ? most_tokens : chunk, state)) {}

  /// Calls step(t), which makes the state after token t of the one before, for all tokens, twice; and visit(t, state
  /// before it) from the last to the first. `state` is the one before the first token, and is overwritten.
  template <class Step, class Visit>
  void operator()(extent tokens, A* state, Step step, Visit visit) const {
    for (extent t = 0; t < tokens; ++t) {
      if (t % chunk == 0) copy(state, starts[t / chunk]);
      step(t);
    }
    for (extent first = (tokens - 1) / chunk * chunk; first >= 0 && tokens > 0; first -= chunk) {
      extent const count = tokens - first < chunk ? tokens - first : chunk;
      copy(starts[first / chunk], state);
      for (extent i = 0; i < count; ++i) copy(state, before[i]), step(first + i);
      for (extent i = count - 1; i >= 0; --i) visit(first + i, before[i]);
    }
  }

 private:
  void copy(const A* from, A* to) const {
    for (extent i = 0; i < size; ++i) to[i] = from[i];
  }
};

}  // namespace ringfold::detail
