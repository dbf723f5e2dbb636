#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include <ringfold/algebra/softmax_merge.hpp>
#include <ringfold/attention/gather.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/testing/attention_laws.hpp>
#include <ringfold/testing/kernel_laws.hpp>

using namespace ringfold;

namespace {

namespace my_library {

/// Attention of q to one block alone: o and its log-sum-exp, where a row without a visible key has 0 and -inf.
template <class P>
void attention(const P& p, view<float, 4> q, block<float> kv, partial<float> to) {
  std::vector<extent> keys;
  p.keys.for_each_position(kv.owner, [&](extent, extent position) { keys.push_back(position); });
  std::vector<double> weights(keys.size());
  p.queries.for_each_position(p.owner, [&](extent row, extent query) {
    for (extent b = 0; b < p.batch; ++b) {
      for (extent head = 0; head < p.head.query; ++head) {
        extent const key_head = (p.head.first_query + head) / p.head.group - kv.first_key;
        bool const here = key_head >= 0 && key_head < kv.k.extents[head_axis];
        double sum = 0;
        for (std::size_t j = 0; j < keys.size(); ++j) {
          weights[j] = 0;
          if (!here || !p.mask_of.allows(query, keys[j])) continue;
          double score = 0;
          for (extent d = 0; d < p.dim; ++d) score += double{q(b, row, head, d)} * double{kv.k(b, j, key_head, d)};
          sum += weights[j] = std::exp(score * p.score.scale);
        }
        to.lse(b, row, head) = static_cast<float>(std::log(sum));  // of 0: -inf
        for (extent d = 0; d < p.value_dim; ++d) {
          double o = 0;
          for (std::size_t j = 0; j < keys.size(); ++j) {
            if (weights[j] > 0) o += weights[j] / sum * double{kv.v(b, j, key_head, d)};
          }
          to.o(b, row, head, d) = static_cast<float>(o);
        }
      }
    }
  });
}

}  // namespace my_library

//! [my_kernel]
struct my_kernel : ringfold::local_attention {
  template <class P>
  auto state(const P& p, arena<>& memory) const {
    extent const rows = p.queries.rows(p.owner), heads = p.head.query;
    struct open {
      P p;
      view<float, 4> q;
      partial<float> sum, part;
    } s{p, memory.take_view<float>(p.batch, rows, heads, p.dim), {}, {}};
    for (auto* each : {&s.sum, &s.part}) {
      *each = {memory.take_view<float>(p.batch, rows, heads, p.value_dim),
               memory.take_view<float>(p.batch, rows, heads)};
    }
    return s;
  }
  void prepare(auto& s, view<const float, 4> q, host_stream on) const {
    on.copy(piece_of(s.q, role::query), piece_of(q, role::query));
    set_identity(on, s.sum);
  }
  void accumulate(auto& s, block<float> kv, host_stream on) const {
    if (!kv.present()) return;
    my_library::attention(s.p, s.q, kv, s.part);
    merge(on, s.sum, s.part);
  }
  void close(auto& s, partial<float> out, host_stream on) const {
    on.copy(piece_of(out.o, role::output), piece_of(s.sum.o, role::output));
    on.copy(piece_of(out.lse, role::lse), piece_of(s.sum.lse, role::lse));
  }
};
//! [my_kernel]

}  // namespace

TEST_CASE("a kernel over a library's (o, lse) keeps the laws, alone and gathered") {
  kernel_laws<float>(my_kernel{});
  run_ranks(3, [](threads comm) { attention_laws<float>(gather(comm, my_kernel{})); });
}
