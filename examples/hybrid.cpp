// A hybrid stack, as of LASP-2H (Sun et al., 2025): layers of softmax attention among layers of the gated delta rule,
// over one layout of one text, whose paragraphs are documents, forward and backward. What it makes of the text, and the
// gradients of a loss, must not depend on the ranks.
// Softmax layers send keys and values, the more the longer the text; the others send states.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iterator>
#include <mutex>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <ringfold/attention/backward_plan.hpp>
#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/recurrence/backward_plan.hpp>
#include <ringfold/recurrence/delta.hpp>
#include <ringfold/recurrence/plan.hpp>
#include <ringfold/wrap/counted.hpp>

using namespace ringfold;

namespace {

using numbers = std::vector<double>;  // so that a mistake would stand out from roundings

constexpr extent heads = 4, dim = 16, width = heads * dim;
constexpr char stack[] = "dddsddds";  // gated delta rule, softmax

/// A text, a token a byte.
struct text {
  std::string bytes;
  documents paragraphs;
};

text read(const char* path) {
  std::ifstream file(path);
  std::string const all{std::istreambuf_iterator<char>(file), {}};
  std::vector<extent> ends{0};
  for (std::size_t at = 0; (at = all.find("\n\n", at)) != std::string::npos;)
    ends.push_back(static_cast<extent>(at += 2));
  ends.push_back(static_cast<extent>(all.size()));
  return {all, documents::between(ends)};
}

/// Numbers of variance 1, the same on all ranks: weights that nobody has trained.
numbers drawn(extent count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> number;
  numbers made(static_cast<std::size_t>(count));
  for (double& each : made) each = number(random);
  return made;
}

/// What the stack reads of a text: a row for each token.
numbers embedded(const std::string& bytes) {
  numbers const table = drawn(256 * width, 0);
  numbers made;
  for (char const each : bytes) {
    auto const row = table.begin() + static_cast<unsigned char>(each) * width;
    made.insert(made.end(), row, row + width);
  }
  return made;
}

/// Rows whose parts have length 1.
numbers normalised(numbers rows, extent part) {
  for (auto first = rows.begin(); first != rows.end(); first += part) {
    double const length = std::sqrt(std::inner_product(first, first + part, first, 1e-12));
    std::transform(first, first + part, first, [&](double each) { return each / length; });
  }
  return rows;
}

/// The gradient of rows from that of normalised(rows, part).
numbers normalised_backward(const numbers& rows, extent part, numbers gradient) {
  auto row = rows.begin();
  for (auto d = gradient.begin(); d != gradient.end(); d += part, row += part) {
    double const square = std::inner_product(row, row + part, row, 1e-12);
    double const along = std::inner_product(row, row + part, d, 0.0) / square;
    std::transform(d, d + part, row, d, [&](double of, double x) { return (of - along * x) / std::sqrt(square); });
  }
  return gradient;
}

/// Rows times the transpose of weights, [outputs, width].
numbers project(const numbers& rows, const numbers& weights) {
  numbers made;
  for (auto row = rows.begin(); row != rows.end(); row += width) {
    for (auto weight = weights.begin(); weight != weights.end(); weight += width) {
      made.push_back(std::inner_product(row, row + width, weight, 0.0));
    }
  }
  return made;
}

/// Adds the gradient of rows from that of project(rows, weights).
void project_backward(numbers& to, const numbers& weights, const numbers& gradient) {
  auto each = gradient.begin();
  for (auto row = to.begin(); row != to.end(); row += width) {
    for (auto weight = weights.begin(); weight != weights.end(); weight += width, ++each) {
      std::transform(row, row + width, weight, row, [&](double sum, double by) { return sum + *each * by; });
    }
  }
}

/// What a layer reads of its rows, [row, head, ...], or the gradients of it.
struct tensors {
  numbers q, k, v, beta, gates;
};

/// A layer with all that its backward pass needs.
struct layer {
  unsigned seed;
  numbers rows, unit, long_k;
  tensors in;
  numbers out, kept;  ///< kept: of softmax the logarithms of its sums, else the states that entered this rank's slots

  layer(numbers x, unsigned number) : seed(10 * number), rows(std::move(x)), unit(normalised(rows, width)) {
    long_k = project(unit, weights(1));
    in = {project(unit, weights(0)), normalised(long_k, dim), project(unit, weights(2)), project(unit, weights(3)),
          project(unit, weights(4))};
    for (double& each : in.beta) each = 1 / (1 + std::exp(-each));
    for (double& each : in.gates) each = -std::log1p(std::exp(each)) / 16;
    out.resize(rows.size());
  }

  /// The gradient of the layer's rows, from those of what it reads of them.
  numbers backward(tensors d) const {
    d.k = normalised_backward(long_k, dim, d.k);
    for (std::size_t i = 0; i < d.beta.size(); ++i) {
      d.beta[i] *= in.beta[i] * (1 - in.beta[i]);
      d.gates[i] *= std::expm1(16 * in.gates[i]) / 16;
    }
    numbers made(rows.size());
    unsigned which = 0;
    for (const numbers* each : {&d.q, &d.k, &d.v, &d.beta, &d.gates}) project_backward(made, weights(which++), *each);
    return normalised_backward(rows, width, made);
  }

 private:
  /// Of q, k, v, beta, gates.
  numbers weights(unsigned which) const { return drawn((which < 3 ? width : heads) * width, seed + which); }
};

/// The most bytes that a rank sent in a layer.
struct sent {
  extent softmax = 0, recurrent = 0;
};

struct outcome {
  numbers rows, gradients;  ///< of all tokens: behind the last layer; of the loss, with respect to the embedded text
  sent forward, backward;
};

/// The stack forward, and backward from a loss: half the sum of squares of what it makes.
outcome run(const numbers& text, const documents& paragraphs, const layout& tokens) {
  outcome made{numbers(text.size()), numbers(text.size()), {}, {}};
  std::mutex guard;
  run_ranks(tokens.ranks(), [&](threads plain) {
    counters book;
    counted comm(plain, book);
    shape const extents{.heads = heads, .dim = dim};
    auto const softmax = ring(comm, flash_kernel{});
    auto const delta = recurrence(comm, schedule::chain{}, delta_rule<gating::per_token>{});
    auto const seen = make_problem<double>(tokens, extents, paragraphs & causal());
    auto const recurs = make_recurrence<double>(tokens, extents, paragraphs);
    plan attend(softmax, seen);
    backward_plan attend_backward(softmax, seen);
    recurrence_plan recur(delta, recurs);
    recurrence_backward_plan recur_backward(delta, recurs);

    extent const rows = tokens.rows(comm.rank());
    auto const by_row = [&](auto& all) { return dense(all.data(), 1, rows, heads, dim); };
    auto const by_head = [&](auto& all) { return dense(all.data(), 1, rows, heads); };
    auto const by_slot = [&](auto& all) { return dense(all.data(), recur.slots(), heads, dim, dim); };
    auto const note = [&](char kind, sent& to) {
      std::lock_guard const lock(guard);
      extent& most = kind == 's' ? to.softmax : to.recurrent;
      most = std::max(most, book.total_bytes());
      book = {};
    };
    auto const add = [](numbers& to, const numbers& terms) {
      std::transform(to.begin(), to.end(), terms.begin(), to.begin(), std::plus{});
    };

    numbers x(static_cast<std::size_t>(rows * width));
    tokens.for_each_position(comm.rank(), [&](extent row, extent position) {
      std::copy_n(text.begin() + position * width, width, x.begin() + row * width);
    });
    std::vector<layer> layers;
    for (unsigned number = 0; stack[number] != 0; ++number) {
      layer& l = layers.emplace_back(x, number + 1);
      tensors const& in = l.in;
      if (stack[number] == 's') {
        l.kept.resize(static_cast<std::size_t>(rows * heads));
        attend.forward(by_row(in.q), by_row(in.k), by_row(in.v), by_row(l.out), by_head(l.kept));
      } else {
        l.kept.resize(static_cast<std::size_t>(recur.slots() * heads * dim * dim));
        recur.forward({by_row(in.q), by_row(in.k), by_row(in.v), by_head(in.beta), by_head(in.gates)}, by_row(l.out),
                      {.entered = by_slot(l.kept)});
      }
      add(x, l.out);
      note(stack[number], made.forward);
    }
    numbers dx = x;  // the gradient of half its squares
    for (std::size_t number = layers.size(); number-- > 0;) {
      layer const& l = layers[number];
      tensors const& in = l.in;
      tensors d{numbers(x.size()), numbers(x.size()), numbers(x.size()), numbers(in.beta.size()),
                numbers(in.gates.size())};
      if (stack[number] == 's') {
        attend_backward.backward(by_row(in.q), by_row(in.k), by_row(in.v), by_row(l.out), by_head(l.kept), by_row(dx),
                                 by_row(d.q), by_row(d.k), by_row(d.v));
      } else {
        recur_backward.backward({by_row(in.q), by_row(in.k), by_row(in.v), by_head(in.beta), by_head(in.gates)},
                                by_slot(l.kept), by_row(dx),
                                {by_row(d.q), by_row(d.k), by_row(d.v), by_head(d.beta), by_head(d.gates)});
      }
      add(dx, l.backward(std::move(d)));
      note(stack[number], made.backward);
    }
    tokens.for_each_position(comm.rank(), [&](extent row, extent position) {
      std::copy_n(x.begin() + row * width, width, made.rows.begin() + position * width);
      std::copy_n(dx.begin() + row * width, width, made.gradients.begin() + position * width);
    });
  });
  return made;
}

/// The largest difference; infinity when one is not a number.
double apart(const numbers& made, const numbers& wanted) {
  double most = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    double const difference = std::fabs(made[i] - wanted[i]);
    most = std::isfinite(difference) ? std::max(most, difference) : INFINITY;
  }
  return most;
}

/// The slope of the loss along a direction, by central differences: the truncation is some 1e-9 of it.
double slope(const numbers& direction, const numbers& text, const documents& paragraphs) {
  constexpr double step = 1e-5;
  auto const moved = [&](double by) {
    numbers there = text;
    for (std::size_t i = 0; i < there.size(); ++i) there[i] += by * direction[i];
    return run(there, paragraphs, contiguous(paragraphs.tokens(), 1)).rows;
  };
  numbers const above = moved(step), below = moved(-step);
  double sum = 0;  // of differences of squares, by their factors: the sums of squares themselves would cancel
  for (std::size_t i = 0; i < above.size(); ++i) sum += (above[i] - below[i]) * (above[i] + below[i]);
  return sum / 2 / (2 * step);
}

}  // namespace

int main(int count, char** arguments) {
  text const of = read(count > 1 ? arguments[1] : "examples/data/text.txt");
  extent const tokens = static_cast<extent>(of.bytes.size());
  if (tokens == 0) {
    fmt::print(stderr, "hybrid: no text; allowed: the path of one, e.g. examples/data/text.txt\n");
    return 2;
  }
  numbers const x = embedded(of.bytes);
  outcome const wanted = run(x, of.paragraphs, contiguous(tokens, 1));
  fmt::print("{} tokens in {} paragraphs through layers {}\n", tokens, of.paragraphs.count(), stack);
  fmt::print("       KiB sent by a softmax layer  KiB sent by the delta rule  largest difference\n");
  fmt::print("ranks         forward     backward        forward    backward     output   gradient\n");
  bool right = true;
  for (int const ranks : {2, 4, 8}) {
    outcome const made = run(x, of.paragraphs, zigzag(tokens, ranks));
    double const output = apart(made.rows, wanted.rows), gradient = apart(made.gradients, wanted.gradients);
    fmt::print("{:5} {:15} {:12} {:14} {:11} {:10.1e} {:10.1e}\n", ranks, made.forward.softmax / 1024,
               made.backward.softmax / 1024, made.forward.recurrent / 1024, made.backward.recurrent / 1024, output,
               gradient);
    right = right && output < 1e-12 && gradient < 1e-12;
  }
  numbers const direction = drawn(tokens * width, 1);
  double const by_gradients = std::inner_product(direction.begin(), direction.end(), wanted.gradients.begin(), 0.0);
  double const by_differences = slope(direction, x, of.paragraphs);
  double const off = std::fabs(by_gradients / by_differences - 1);
  fmt::print("slope of the loss in a random direction: {:.6f}, by central differences {:.6f}\n", by_gradients,
             by_differences);
  return right && off < 1e-8 ? 0 : 1;
}
