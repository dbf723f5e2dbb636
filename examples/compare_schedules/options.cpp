#include "options.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "support/command_line.hpp"
#include "support/layouts.hpp"

namespace compare_schedules {

using ringfold::say;
using ringfold::usage_error;
using ringfold::examples::refuse, ringfold::examples::split, ringfold::examples::whole_number;

namespace {

constexpr const char* masks_allowed = "full, causal, window:L[,R] (keys before and after a query, 0 or more)";
constexpr extent longest = std::numeric_limits<std::int32_t>::max();

ringfold::band mask_named(const std::string& text) {
  if (text == "full") return ringfold::full();
  if (text == "causal") return ringfold::causal();
  if (!text.starts_with("window:")) refuse("--mask", text, masks_allowed);
  auto const widths = split(std::string_view(text).substr(7));
  if (widths.size() > 2) refuse("--mask", text, masks_allowed);
  auto const width = [&](std::size_t i) {
    return i < widths.size() ? whole_number<extent>("--mask", text, widths[i], 0, longest, "window:L[,R] with ") : 0;
  };
  return ringfold::window(width(0), width(1));
}

void choose(options& o) {
  std::string names;
  for (const schedule& each : schedules)
    names += std::string(each.name) + (&each == &schedules[schedule_count - 1] ? "" : ", ");
  o.every = o.schedule_text == "all";
  if (o.every) {
    for (const schedule& each : schedules) o.chosen.push_back(&each);
    return;
  }
  for (const std::string& name : split(o.schedule_text)) {
    const schedule* found = nullptr;
    for (const schedule& each : schedules) found = name == each.name ? &each : found;
    if (found == nullptr) refuse("--schedule", o.schedule_text, "all, or some of " + names);
    for (const schedule* before : o.chosen) {
      if (before == found) refuse("--schedule", o.schedule_text, "each name once");
    }
    o.chosen.push_back(found);
  }
}

}  // namespace

const char* name_of(dtype type) {
  if (type == dtype_of<float>) return "f32";
  if (type == dtype_of<double>) return "f64";
  return type == dtype_of<ringfold::f16> ? "f16" : "bf16";
}

dtype dtype_named(const std::string& text) {
  for (dtype const type : {dtype_of<float>, dtype_of<double>, dtype_of<ringfold::bf16>, dtype_of<ringfold::f16>}) {
    if (text == name_of(type)) return type;
  }
  refuse("--dtype", text, "f32, f64, bf16, f16");
}

options parse(int argc, char** argv, launched by_mpirun) {
  options o;
  CLI::App app(
      "Runs attention over a sequence by every schedule on several ranks, and tells what each sent, how long it took\n"
      "and how far it is from the fp64 definition.\n"
      "Exit code: 0 when every error is at most 1.5 times that of one rank alone, or a few roundoffs of sums\n"
      "more, and every byte and step was expected,\n"
      "1 when not, 2 for an argument that is not allowed.",
      "compare_schedules");
  std::string ranks, seq, batch, heads, kv_heads, dim, value_dim, input, seed, repeats, queries, prefix, cap, drop;
  auto const add = [&app](const char* name, std::string& to, const char* type, const char* what) {
    return app.add_option(name, to, what)->type_name(type);
  };
  add("--ranks", ranks, "P", "Number of ranks, threads of this process (default 4); under mpirun its own");
  add("--schedule", o.schedule_text, "NAMES",
      "all (default), or some of ring,gather,ulysses,usp,double_ring,direct,query_ring,split_kv");
  add("--seq", seq, "N", "Tokens (default 1024, or the input's)");
  add("--batch", batch, "B", "Sequences at once (default 1, or the input's)");
  add("--heads", heads, "H", "Query heads (default 8, or the input's)");
  add("--kv-heads", kv_heads, "K", "Key and value heads, a divisor of the heads (default H, or the input's)");
  add("--dim", dim, "D", "Size of a head's queries and keys (default 64, or the input's)");
  add("--value-dim", value_dim, "D", "Size of a head's values (default that of keys, or the input's)");
  add("--dtype", o.dtype_text, "TYPE",
      "f32, f64, bf16 or f16: what is stored and sent (default f32, or the input's); input of\n"
      "another type is rounded to it. Sums are kept in f64 for f64, in f32 for the others");
  add("--mask", o.mask_text, "MASK", "full (default), causal, or window:L[,R]: L keys before and R (0) after a query");
  add("--layout", o.layout_text, "LAYOUT", ringfold::examples::layouts_help);
  add("--queries", queries, "N", "Queries, where they are other tokens than the keys; the last stands at the last key");
  add("--prefix", prefix, "N", "Tokens of keys and values before the sequence, as in a cache, laid out likewise");
  add("--documents", o.documents_text, "LENGTHS",
      "L1,L2,...: documents that do not see each other; what is left of the sequence is padding");
  add("--softcap", cap, "X", "Scores s become X tanh(s / X)");
  app.add_flag("--alibi", o.alibi, "Scores fall with the distance, by the published slopes");
  app.add_flag("--sinks", o.sinks, "Each head has a sink, a random score that takes weight from every row");
  add("--dropout", drop, "P", "Weights are dropped with this probability, 0 or more and less than 1");
  app.add_flag("--backward", o.backward,
               "Run, count and check the backward pass too, for a random gradient of the output");
  add("--order", o.order, "ORDER",
      "fast (default), or canonical[:CHUNK]: the same bits at any rank count, by chunks of 64 tokens or so many");
  add("--input", input, "FILES",
      "q.npy,k.npy,v.npy[,o.npy], each [batch, seq, heads, dim] of f2, f4 or f8; with o,\n"
      "errors are told against it too");
  add("--seed", seed, "S", "Of the random input, where none is given (default 1)");
  add("--repeat", repeats, "R", "Timed calls, after one that is not (default 5)");
  auto* const json = add("--json", o.json, "FILE", "Write the results there as JSON; - is the standard output");
  auto* const trace =
      add("--trace", o.trace, "FILE", "Write a trace of one call of each schedule there, for ui.perfetto.dev");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    o.help = true;
    if (by_mpirun.rank == 0) fmt::print("{}", app.help());
    return o;
  } catch (const CLI::ExtrasError&) {
    std::string known;
    for (const CLI::Option* each : app.get_options()) known += (known.empty() ? "" : " ") + each->get_name();
    refuse("unknown argument", app.remaining().front(), known);
  } catch (const CLI::ParseError& e) {
    throw usage_error(say("%s (see --help)", e.what()));
  }

  if (by_mpirun.ranks > 0) o.ranks = by_mpirun.ranks;
  if (app.count("--ranks") > 0) o.ranks = whole_number("--ranks", ranks, ranks, 1, 1024);
  if (by_mpirun.ranks > 0 && o.ranks != by_mpirun.ranks) {
    refuse("--ranks", ranks, fmt::format("the {} processes that mpirun started, or no --ranks", by_mpirun.ranks));
  }
  choose(o);
  auto const number = [&app](const char* name, const std::string& text, extent& to, extent high) {
    if (app.count(name) > 0) to = whole_number<extent>(name, text, text, 1, high);
  };
  number("--seq", seq, o.seq, longest);
  number("--batch", batch, o.batch, longest);
  number("--heads", heads, o.heads, longest);
  number("--kv-heads", kv_heads, o.kv_heads, longest);
  number("--dim", dim, o.dim, longest);
  number("--value-dim", value_dim, o.value_dim, longest);
  if (app.count("--dtype") > 0) dtype_named(o.dtype_text);
  o.mask = mask_named(o.mask_text);
  if (o.order.starts_with("canonical:")) {
    o.chunk = whole_number<extent>("--order", o.order, o.order.substr(10), 1, longest, "fast, canonical[:CHUNK] with ");
  } else if (o.order == "canonical") {
    o.chunk = 64;
  } else if (o.order != "fast") {
    refuse("--order", o.order, "fast, canonical[:CHUNK]");
  }
  number("--queries", queries, o.queries, longest);
  number("--prefix", prefix, o.prefix, longest);
  for (const char* const name : {"--queries", "--prefix"}) {
    if (app.count(name) == 0) continue;
    for (const char* const other : {"--input", "--documents"}) {
      if (app.count(other) > 0)
        refuse(name, name == std::string_view("--queries") ? queries : prefix, fmt::format("none with {}", other));
    }
  }
  if (app.count("--documents") > 0) {
    for (const std::string& each : split(o.documents_text)) {
      o.documents.push_back(whole_number<extent>("--documents", o.documents_text, each, 0, longest, "L1,L2,... with "));
    }
  }
  auto const real = [&app](const char* name, const std::string& text, double& to, const char* allowed, auto fits) {
    if (app.count(name) == 0) return;
    auto const [end, failure] = std::from_chars(text.data(), text.data() + text.size(), to);
    if (failure != std::errc() || end != text.data() + text.size() || !fits(to)) refuse(name, text, allowed);
  };
  real("--softcap", cap, o.softcap, "numbers from 1e-30 to 1e30", [](double x) { return x >= 1e-30 && x <= 1e30; });
  real("--dropout", drop, o.dropout, "numbers from 0 to below 1", [](double x) { return x >= 0 && x < 1; });
  if (app.count("--input") > 0) {
    o.input = split(input);
    if (o.input.size() != 3 && o.input.size() != 4) refuse("--input", input, "3 or 4 files: q.npy,k.npy,v.npy[,o.npy]");
  }
  if (app.count("--seed") > 0) {
    if (app.count("--input") > 0) refuse("--seed", seed, "none with --input: what comes from files is not random");
    o.seed = whole_number<std::uint64_t>("--seed", seed, seed, 0, std::numeric_limits<std::uint64_t>::max());
  }
  if (app.count("--repeat") > 0) o.repeats = whole_number("--repeat", repeats, repeats, 1, 1'000'000);
  if (json->count() > 0 && o.json.empty()) refuse("--json", "", "a file that can be written, or -");
  if (trace->count() > 0 && (o.trace.empty() || o.trace == "-" || o.trace == o.json)) {
    refuse("--trace", o.trace, "a file of its own that can be written");
  }
  (void)layout_of(o, -1);
  return o;
}

ringfold::layout layout_of(const options& o, extent tokens) {
  return ringfold::examples::layout_named(o.layout_text, tokens, o.ranks, std::max<extent>(1, o.chunk));
}

}  // namespace compare_schedules
