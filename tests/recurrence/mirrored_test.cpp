// sanitize: off
#include <ringfold/recurrence/mirrored.hpp>

#include <doctest/doctest.h>

#include <mutex>
#include <random>
#include <vector>

#include <ringfold/comm/threads.hpp>
#include <ringfold/recurrence/backward_plan.hpp>
#include <ringfold/recurrence/short_convolution.hpp>

using namespace ringfold;

namespace {

/// Numbers of a sequence, or their gradients: 2 channels for each token, 3 weights, a state of 2 tokens.
struct sequence {
  std::vector<double> x, weights, out, initial, final;
};

constexpr extent channels = 2, taps = 3;

/// Runs a convolution over ranks, forward and backward, from the first token to the last or the other way.
sequence run(const sequence& s, const layout& tokens, const documents& packed, bool backwards) {
  sequence made{std::vector<double>(s.x.size()), std::vector<double>(s.weights.size()),
                std::vector<double>(s.out.size()), std::vector<double>(s.initial.size()),
                std::vector<double>(s.final.size())};
  std::mutex guard;
  run_ranks(tokens.ranks(), [&](threads comm) {
    extent const rows = tokens.rows(comm.rank());
    auto const at = [&](extent position) { return static_cast<std::size_t>(position * channels); };
    std::vector<double> x, dout, out(at(rows)), dx(at(rows)), dweights(s.weights.size()), final(s.final.size()),
        dinitial(s.initial.size());
    tokens.for_each_position(comm.rank(), [&](extent, extent position) {
      for (extent c = 0; c < channels; ++c) {
        x.push_back(s.x[at(position) + static_cast<std::size_t>(c)]);
        dout.push_back(s.out[at(position) + static_cast<std::size_t>(c)]);
      }
    });
    auto const by_row = [&](auto& of) {
      auto const whole = dense(of.data(), 1, rows, 1, channels);
      return backwards ? flipped(whole) : whole;
    };
    auto const state = [](auto& of, extent slots = 1) { return dense(of.data(), slots, 1, taps - 1, channels); };
    auto const forward = make_recurrence<double>(tokens, {.heads = 1, .dim = taps, .value_dim = channels}, packed);
    auto const p = backwards ? mirrored(forward) : forward;
    auto const over = recurrence(comm, schedule::chain{}, short_convolution{});
    recurrence_plan plan(over, p);
    recurrence_backward_plan back(over, p);
    std::vector<double> entered(s.initial.size() * static_cast<std::size_t>(plan.slots()));
    auto const weights = dense(s.weights.data(), 1, channels, taps);
    plan.forward({by_row(x), weights}, by_row(out),
                 {.initial = state(s.initial), .final = state(final), .entered = state(entered, plan.slots())});
    back.backward({by_row(x), weights}, state(entered, plan.slots()), by_row(dout),
                  {by_row(dx), dense(dweights.data(), 1, channels, taps)},
                  {.final = state(s.final), .initial = state(dinitial)});

    std::lock_guard const lock(guard);
    tokens.for_each_position(comm.rank(), [&](extent row, extent position) {
      for (std::size_t c = 0; c < channels; ++c) {
        made.out[at(position) + c] = out[at(row) + c], made.x[at(position) + c] = dx[at(row) + c];
      }
      extent const last = tokens.tokens() - 1;
      if (position == (backwards ? last : 0)) made.initial = dinitial;
      if (position == (backwards ? 0 : last)) made.final = final;
    });
    for (std::size_t i = 0; i < dweights.size(); ++i) made.weights[i] += dweights[i];
  });
  return made;
}

std::vector<double> turned(const std::vector<double>& tokens) {
  std::vector<double> made;
  for (std::size_t i = tokens.size(); i > 0; i -= channels) {
    made.insert(made.end(), tokens.begin() + static_cast<long>(i - channels), tokens.begin() + static_cast<long>(i));
  }
  return made;
}

}  // namespace

TEST_CASE("a recurrence that runs backwards is one that runs forwards over the sequence turned round") {
  std::mt19937_64 random(1);
  auto const draw = [&](std::size_t count) {
    std::vector<double> made(count);
    for (double& each : made) each = static_cast<double>(random() % 33) / 8 - 2;  // sums of products are exact
    return made;
  };
  extent const tokens = 19;
  documents const packed{4, 0, 9, 1, 5}, one{tokens};
  for (const documents* documents_of : {&packed, &one}) {
    for (int ranks = 1; ranks <= 5; ++ranks) {
      layout const layouts[] = {contiguous(tokens, ranks), zigzag(tokens, ranks), striped(tokens, ranks)};
      for (const layout& each : layouts) {
        CAPTURE(ranks);
        sequence const s{draw(tokens * channels), draw(channels * taps), draw(tokens * channels),
                         draw((taps - 1) * channels), draw((taps - 1) * channels)};
        sequence const round{turned(s.x), s.weights, turned(s.out), s.initial, s.final};
        auto const backwards = run(s, each, *documents_of, true);
        auto const forwards = run(round, contiguous(tokens, 1), mirrored(*documents_of), false);
        CHECK(backwards.out == turned(forwards.out));
        CHECK(backwards.x == turned(forwards.x));
        CHECK(backwards.weights == forwards.weights);
        CHECK(backwards.initial == forwards.initial);
        CHECK(backwards.final == forwards.final);
        CHECK(backwards.out != run(s, each, *documents_of, false).out);
      }
    }
  }
}

TEST_CASE("both ways") {
  run_ranks(2, [](threads comm) {
    //! [mirrored]
    // 8 tokens on 2 ranks; each is added to the one before it, and to the one behind it.
    auto const problem = make_recurrence<float>(contiguous(8, comm.size()), {.heads = 1, .dim = 2, .value_dim = 1});
    recurrence_plan ahead(recurrence(comm, schedule::chain{}, short_convolution{}), problem);
    recurrence_plan back(recurrence(comm, schedule::chain{}, short_convolution{}), mirrored(problem));

    std::vector<float> x(4), sums(4), other(4);
    for (int i = 0; i < 4; ++i) x[static_cast<std::size_t>(i)] = static_cast<float>(4 * comm.rank() + i);
    float const ones[2] = {1, 1};
    auto const rows = [](std::vector<float>& of) { return dense(of.data(), 1, 4, 1, 1); };
    ahead.forward({rows(x), dense(ones, 1, 1, 2)}, rows(sums));
    back.forward({flipped(rows(x)), dense(ones, 1, 1, 2)}, flipped(rows(other)));
    //! [mirrored]
    bool const right = comm.rank() == 0
                           ? sums == std::vector<float>{0, 1, 3, 5} && other == std::vector<float>{1, 3, 5, 7}
                           : sums == std::vector<float>{7, 9, 11, 13} && other == std::vector<float>{9, 11, 13, 7};
    if (!right) throw usage_error(say("rank %d has other sums", comm.rank()));
  });
}
