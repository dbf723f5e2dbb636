#pragma once

#include <memory>
#include <variant>
#include <vector>

#include <ringfold/collective/scan.hpp>

/// \file
/// Schedules by name, chosen at run time: a rule is compiled once for all of them.

namespace ringfold::examples {

template <class G, class C>
class any_scan;

/// Any of the schedules, as a schedule.
struct any_schedule {
  template <class G, class C>
  using scan = any_scan<G, C>;

  const char* name;
  std::variant<schedule::chain, schedule::gather_ring, schedule::gather_bruck, schedule::all_to_all,
               schedule::hillis_steele, schedule::doubling_123, schedule::recursive_doubling,
               schedule::two_level<schedule::doubling_123, schedule::chain>>
      which;

  int rounds(int slots) const {
    return std::visit([&](const auto& s) { return s.rounds(slots); }, which);
  }
  extent bytes(int slots, int slot, const schedule::scan_sizes& of) const {
    return std::visit([&](const auto& s) { return s.bytes(slots, slot, of); }, which);
  }
  bool keeps_order() const {
    return std::visit([](const auto& s) { return s.keeps_order; }, which);
  }
};

/// The scan of whichever schedule was chosen.
template <class G, class C>
class any_scan {
 public:
  using stream = stream_t<C>;
  using state = typename G::state;
  using element = typename G::element;

  any_scan(const any_schedule& chosen, G algebra, C comm, scan_slots slots, arena<space_t<C>>& memory) {
    std::visit([&]<class S>(const S& s) { scan_ = std::make_unique<typed<S>>(s, algebra, comm, slots, memory); },
               chosen.which);
  }

  void start(span<const element> mine, const state* seed, stream on) { scan_->start(mine, seed, on); }
  bool advance(stream on) { return scan_->advance(on); }
  void finish(stream on) { scan_->finish(on); }
  const state& before(int own) const { return scan_->before(own); }

 private:
  struct untyped {
    virtual ~untyped() = default;
    virtual void start(span<const element> mine, const state* seed, stream on) = 0;
    virtual bool advance(stream on) = 0;
    virtual void finish(stream on) = 0;
    virtual const state& before(int own) const = 0;
  };
  template <class S>
  struct typed final : untyped {
    typed(S s, G algebra, C comm, const scan_slots& slots, arena<space_t<C>>& memory)
        : inner(s, algebra, comm, slots, memory) {}
    void start(span<const element> mine, const state* seed, stream on) override { inner.start(mine, seed, on); }
    bool advance(stream on) override { return inner.advance(on); }
    void finish(stream on) override { inner.finish(on); }
    const state& before(int own) const override { return inner.before(own); }
    scan_of<S, G, C> inner;
  };

  std::unique_ptr<untyped> scan_;
};

/// Every schedule, by its name.
inline std::vector<any_schedule> all_schedules(int pieces, int ranks_per_node) {
  return {{"chain", schedule::chain{}},
          {"pipelined_chain", schedule::chain{pieces}},
          {"gather_ring", schedule::gather_ring{}},
          {"gather_bruck", schedule::gather_bruck{}},
          {"all_to_all", schedule::all_to_all{}},
          {"hillis_steele", schedule::hillis_steele{}},
          {"doubling_123", schedule::doubling_123{}},
          {"recursive_doubling", schedule::recursive_doubling{}},
          {"two_level", schedule::two_level<schedule::doubling_123, schedule::chain>{ranks_per_node}}};
}

}  // namespace ringfold::examples
