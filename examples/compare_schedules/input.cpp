#include "input.hpp"

#include <algorithm>
#include <random>

#include <fmt/format.h>

#include <ringfold/sequence/shifted.hpp>

#include "support/memory.hpp"
#include "support/npy.hpp"

namespace compare_schedules {

using ringfold::say;
using ringfold::usage_error;
using ringfold::examples::npy_array;

namespace {

[[noreturn]] void refuse(const std::string& text) { throw usage_error(say("%s", text.c_str())); }

tensor read(const std::string& file) {
  npy_array array;
  try {
    array = ringfold::examples::read_npy(file);
  } catch (const ringfold::examples::npy_error& e) {
    refuse(fmt::format("--input {}", e.what()));
  }
  if (array.shape.size() != 4) {
    refuse(fmt::format("--input {}: {} axes; allowed: 4, [batch, seq, heads, dim]", file, array.shape.size()));
  }
  tensor made;
  made.type = array.type;
  for (std::size_t axis = 0; axis < 4; ++axis) {
    made.extents[axis] = array.shape[axis];
    if (made.extents[axis] < 1) refuse(fmt::format("--input {}: axis {} is empty; allowed: 1 or more", file, axis));
  }
  made.bytes = std::move(array.bytes);
  return made;
}

/// The extent that a file has, unless an argument says otherwise.
extent agreed(const std::string& file, const char* argument, extent given, extent found) {
  if (given != 0 && given != found) {
    refuse(fmt::format("{} {}: {} has {}; allowed: that, or leave it out", argument, given, file, found));
  }
  return found;
}

void check_extents(const std::string& file, const tensor& t, std::initializer_list<extent> wanted, const char* like) {
  static constexpr const char* axes[] = {"batch", "seq", "heads", "dim"};
  int axis = 0;
  for (extent const each : wanted) {
    if (t.extents[axis] != each) {
      refuse(fmt::format("--input {}: {} is {}; allowed: {}, as in {}", file, axes[axis], t.extents[axis], each, like));
    }
    ++axis;
  }
}

/// The tensor with elements of another type, rounded to nearest; tells whether any changed.
template <class To>
tensor rounded(const tensor& from, bool& changed) {
  tensor made(dtype_of<To>, from.extents[0], from.extents[1], from.extents[2], from.extents[3]);
  with_element(from.type, [&]<class From>(From) {
    ringfold::host_stream{}.elementwise(
        [&](To& to, const From& old) {
          if constexpr (std::is_same_v<To, double>) {
            to = static_cast<double>(old);
          } else {
            // 16-bit types round through float; doubles that floats cannot tell apart are rounded twice.
            to = static_cast<To>(static_cast<float>(old));
          }
          changed = changed || static_cast<double>(to) != static_cast<double>(old);
        },
        made.as<To>(), from.as<From>());
  });
  return made;
}

tensor rounded(const tensor& from, dtype type, bool& changed) {
  return with_element(type, [&]<class To>(To) { return rounded<To>(from, changed); });
}

/// Uniform numbers of mean 0 and variance 1, the same on every machine.
tensor random_tensor(dtype type, std::mt19937_64& random, extent batch, extent tokens, extent heads, extent dim) {
  tensor made(type, batch, tokens, heads, dim);
  with_element(type, [&]<class T>(T) {
    ringfold::host_stream{}.elementwise(
        [&](T& to) {
          float const unit = static_cast<float>(random() >> 40) * 0x1p-24f;
          to = static_cast<T>(3.4641016f * (unit - 0.5f));
        },
        made.as<T>());
  });
  return made;
}

/// \throws usage_error when q, k, v and o would not fit this machine's memory twice.
void check_memory(const ringfold::shape& s, extent tokens, dtype type) {
  double const per_token =
      static_cast<double>(s.batch) * (static_cast<double>(s.heads) * static_cast<double>(s.dim + s.value_dim) +
                                      static_cast<double>(s.kv_heads) * static_cast<double>(s.dim + s.value_dim));
  double const needed = 2 * per_token * static_cast<double>(tokens) * static_cast<double>(type.bytes());
  ringfold::examples::check_memory(
      fmt::format("--seq {} --batch {} --heads {} --dim {}: q, k, v and the output", tokens, s.batch, s.heads, s.dim),
      needed);
}

/// Whether every rank holds whole chunks, of which the sequence's last may be shorter.
bool in_whole_chunks(const ringfold::layout& tokens, extent chunk) {
  for (int rank = 0; rank < tokens.ranks(); ++rank) {
    for (const ringfold::segment& each : tokens.segments(rank)) {
      extent const end = each.first + each.count;
      bool const adjacent = each.step == 1 || each.count == 1 || chunk == 1;
      if (!adjacent || each.first % chunk != 0 || (end % chunk != 0 && end != tokens.tokens())) return false;
    }
  }
  return true;
}

}  // namespace

inputs load(const options& o) {
  inputs made;
  experiment& e = made.e;
  ringfold::shape& s = e.shape;
  e.repeats = o.repeats;
  e.softcap = o.softcap, e.alibi = o.alibi, e.dropout = o.dropout, e.dropout_seed = o.seed;
  e.backward = o.backward, e.chunk = o.chunk;
  auto const set = [](extent given, extent otherwise) { return given != 0 ? given : otherwise; };
  extent tokens = set(o.seq, 1024);
  tensor q, k, v;
  if (o.input.empty()) {
    s.batch = set(o.batch, 1);
    s.heads = set(o.heads, 8);
    s.kv_heads = set(o.kv_heads, s.heads);
    s.dim = set(o.dim, 64);
    s.value_dim = set(o.value_dim, s.dim);
    e.type = o.dtype_text.empty() ? dtype_of<float> : dtype_named(o.dtype_text);
  } else {
    q = read(o.input[0]), k = read(o.input[1]), v = read(o.input[2]);
    s.batch = agreed(o.input[0], "--batch", o.batch, q.extents[0]);
    tokens = agreed(o.input[0], "--seq", o.seq, q.extents[1]);
    s.heads = agreed(o.input[0], "--heads", o.heads, q.extents[2]);
    s.dim = agreed(o.input[0], "--dim", o.dim, q.extents[3]);
    s.kv_heads = agreed(o.input[1], "--kv-heads", o.kv_heads, k.extents[2]);
    s.value_dim = agreed(o.input[2], "--value-dim", o.value_dim, v.extents[3]);
    check_extents(o.input[1], k, {s.batch, tokens, s.kv_heads, s.dim}, "q");
    check_extents(o.input[2], v, {s.batch, tokens, s.kv_heads, s.value_dim}, "k");
    if (o.dtype_text.empty() && (k.type != q.type || v.type != q.type)) {
      refuse(fmt::format("--input {}: {}, but q is {}; allowed: one type for all, or say --dtype",
                         k.type != q.type ? o.input[1] : o.input[2], name_of(k.type != q.type ? k.type : v.type),
                         name_of(q.type)));
    }
    e.type = o.dtype_text.empty() ? q.type : dtype_named(o.dtype_text);
    if (o.input.size() == 4) {
      made.o = read(o.input[3]);
      check_extents(o.input[3], *made.o, {s.batch, tokens, s.heads, s.value_dim}, "q and v");
    }
  }
  if (s.heads % s.kv_heads != 0) {
    refuse(fmt::format("--kv-heads {}: allowed: divisors of the {} query heads", s.kv_heads, s.heads));
  }
  for (const schedule* each : o.chosen) {
    std::string const why = refusal(*each, o.ranks, s.heads, o.chunk > 0);
    if (!why.empty() && !o.every) refuse(fmt::format("--schedule {}: {}", each->name, why));
  }
  extent const queries = set(o.queries, tokens), keys = o.prefix + tokens;
  check_memory(s, std::max(queries, keys), e.type);
  e.tokens = layout_of(o, queries);
  e.keys = o.queries == 0 ? e.tokens : layout_of(o, tokens);
  if (o.chunk > 0 && !(in_whole_chunks(e.tokens, o.chunk) && in_whole_chunks(e.keys, o.chunk))) {
    refuse(
        fmt::format("--layout {}: it cuts chunks of {} tokens; allowed with --order {}: contiguous, zigzag, striped, "
                    "or multiples of {}",
                    o.layout_text, o.chunk, o.order, o.chunk));
  }
  if (o.prefix > 0) e.keys = ringfold::appended(layout_of(o, o.prefix), e.keys);
  if (o.chunk > 0 && !in_whole_chunks(e.keys, o.chunk)) {
    refuse(fmt::format("--prefix {}: it ends within a chunk; allowed with --order {}: multiples of {}", o.prefix,
                       o.order, o.chunk));
  }
  e.mask.band = ringfold::bottom_right(o.mask, queries, keys);
  if (!o.documents.empty()) {
    ringfold::documents const parts{ringfold::span<const extent>(o.documents.data(), o.documents.size())};
    if (parts.tokens() > tokens) {
      refuse(fmt::format("--documents {}: {} tokens; allowed: at most the {} of the sequence", o.documents_text,
                         parts.tokens(), tokens));
    }
    for (int i = 0; i < parts.count(); ++i) e.ends.push_back(parts.end(i));
    e.mask.documents = parts & o.mask;
  }

  if (o.input.empty()) {
    std::mt19937_64 random(o.seed);
    e.q = random_tensor(e.type, random, s.batch, queries, s.heads, s.dim);
    e.k = random_tensor(e.type, random, s.batch, keys, s.kv_heads, s.dim);
    e.v = random_tensor(e.type, random, s.batch, keys, s.kv_heads, s.value_dim);
  }
  std::mt19937_64 random(o.seed + 1);
  if (o.sinks) {
    tensor const drawn = random_tensor(dtype_of<float>, random, 1, 1, s.heads, 1);
    for (extent h = 0; h < s.heads; ++h) e.sinks.push_back(static_cast<double>(drawn.as<float>()(0, 0, h, 0)));
  }
  if (o.backward) e.dout = random_tensor(e.type, random, s.batch, queries, s.heads, s.value_dim);
  if (o.input.empty()) return made;

  bool changed = false;
  e.q = rounded(q, e.type, changed), e.k = rounded(k, e.type, changed), e.v = rounded(v, e.type, changed);
  if (changed && made.o) {
    made.as_given = e;
    made.as_given->type = dtype_of<double>;
    made.as_given->q = rounded(q, dtype_of<double>, changed);
    made.as_given->k = rounded(k, dtype_of<double>, changed);
    made.as_given->v = rounded(v, dtype_of<double>, changed);
  }
  return made;
}

}  // namespace compare_schedules
