// A hybrid stack, as of LASP-2H (Sun et al., 2025): layers of softmax attention among layers of the gated delta rule,
// over one layout of one text, whose paragraphs are documents. What it makes of the text must not depend on the ranks.
// Softmax layers send keys and values, the more the longer the text; the others send states.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <mutex>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/kernel/cpu/flash.hpp>
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

/// Rows whose parts have length 1.
numbers normalised(numbers rows, extent part) {
  for (auto first = rows.begin(); first != rows.end(); first += part) {
    double const length = std::sqrt(std::inner_product(first, first + part, first, 1e-12));
    std::transform(first, first + part, first, [&](double each) { return each / length; });
  }
  return rows;
}

/// What a layer reads of some rows: projections of them, [row, head, ...].
struct projected {
  numbers q, k, v, beta, gates;

  projected(const numbers& rows, unsigned layer) {
    numbers const x = normalised(rows, width);
    unsigned seed = 10 * layer;
    auto const project = [&](extent outputs) {
      numbers const weights = drawn(outputs * width, seed++);
      numbers made;
      for (auto row = x.begin(); row != x.end(); row += width) {
        for (auto weight = weights.begin(); weight != weights.end(); weight += width) {
          made.push_back(std::inner_product(row, row + width, weight, 0.0));
        }
      }
      return made;
    };
    q = project(width), k = normalised(project(width), dim), v = project(width);
    beta = project(heads), gates = project(heads);
    for (double& each : beta) each = 1 / (1 + std::exp(-each));
    for (double& each : gates) each = -std::log1p(std::exp(each)) / 16;
  }
};

struct outcome {
  numbers rows;                       ///< of all tokens, behind the last layer
  extent softmax = 0, recurrent = 0;  ///< the most bytes that a rank sent in a layer
};

outcome run(const text& of, const layout& tokens) {
  outcome made{numbers(of.bytes.size() * width), 0, 0};
  std::mutex guard;
  run_ranks(tokens.ranks(), [&](threads plain) {
    counters book;
    counted comm(plain, book);
    shape const extents{.heads = heads, .dim = dim};
    plan attend(ring(comm, flash_kernel{}), make_problem<double>(tokens, extents, of.paragraphs & causal()));
    recurrence_plan recur(recurrence(comm, schedule::chain{}, delta_rule<gating::per_token>{}),
                          make_recurrence<double>(tokens, extents, of.paragraphs));

    extent const rows = tokens.rows(comm.rank());
    auto const by_row = [&](auto& all) { return dense(all.data(), 1, rows, heads, dim); };
    auto const by_head = [&](auto& all) { return dense(all.data(), 1, rows, heads); };
    numbers const embedding = drawn(256 * width, 0);
    numbers x(static_cast<std::size_t>(rows * width)), out(x);
    tokens.for_each_position(comm.rank(), [&](extent row, extent position) {
      auto const byte = static_cast<unsigned char>(of.bytes[static_cast<std::size_t>(position)]);
      std::copy_n(embedding.begin() + byte * width, width, x.begin() + row * width);
    });
    for (unsigned layer = 0; stack[layer] != 0; ++layer) {
      bool const softmax = stack[layer] == 's';
      projected in(x, layer + 1);
      book = {};
      if (softmax) {
        attend.forward(by_row(in.q), by_row(in.k), by_row(in.v), by_row(out));
      } else {
        recur.forward({by_row(in.q), by_row(in.k), by_row(in.v), by_head(in.beta), by_head(in.gates)}, by_row(out));
      }
      for (std::size_t i = 0; i < x.size(); ++i) x[i] += out[i];
      std::lock_guard const lock(guard);
      extent& most = softmax ? made.softmax : made.recurrent;
      most = std::max(most, book.total_bytes());
    }
    tokens.for_each_position(comm.rank(), [&](extent row, extent position) {
      std::copy_n(x.begin() + row * width, width, made.rows.begin() + position * width);
    });
  });
  return made;
}

}  // namespace

int main(int count, char** arguments) {
  text const of = read(count > 1 ? arguments[1] : "examples/data/text.txt");
  extent const tokens = static_cast<extent>(of.bytes.size());
  if (tokens == 0) {
    fmt::print(stderr, "hybrid: no text; allowed: the path of one, e.g. examples/data/text.txt\n");
    return 2;
  }
  numbers const wanted = run(of, contiguous(tokens, 1)).rows;
  fmt::print("{} tokens in {} paragraphs through layers {}\n", tokens, of.paragraphs.count(), stack);
  fmt::print("ranks  KiB sent by a softmax layer  by one of the delta rule  largest difference\n");
  bool right = true;
  for (int const ranks : {2, 4, 8}) {
    auto const made = run(of, zigzag(tokens, ranks));
    double worst = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      double const difference = std::fabs(made.rows[i] - wanted[i]);
      worst = std::isfinite(difference) ? std::max(worst, difference) : INFINITY;
    }
    fmt::print("{:5} {:28} {:25} {:19.1e}\n", ranks, made.softmax / 1024, made.recurrent / 1024, worst);
    right = right && worst < 1e-12;
  }
  return right ? 0 : 1;
}
