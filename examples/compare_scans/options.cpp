#include "options.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "support/command_line.hpp"
#include "support/layouts.hpp"
#include "support/output.hpp"

namespace compare_scans {

using ringfold::examples::refuse, ringfold::examples::split, ringfold::examples::whole_number;

namespace {

constexpr rule rules[] = {{"linear", prepare_linear},
                          {"retention", prepare_retention},
                          {"scalar", prepare_scalar},
                          {"gla", prepare_gla},
                          {"delta", prepare_delta},
                          {"gated_delta", prepare_gated_delta},
                          {"kda", prepare_kda},
                          {"rwkv7", prepare_rwkv7},
                          {"hgrn", prepare_hgrn},
                          {"lru", prepare_lru},
                          {"mamba1", prepare_mamba1},
                          {"mlstm", prepare_mlstm},
                          {"convolution", prepare_convolution}};

constexpr extent longest = std::numeric_limits<std::int32_t>::max();

/// Those that a list names, in its order.
template <class Some>
std::vector<const Some*> named(const char* argument, const std::string& text, ringfold::span<const Some> from) {
  std::string names;
  std::vector<const Some*> chosen;
  for (const Some& each : from) {
    names += (names.empty() ? "" : ", ") + std::string(each.name);
    if (text == "all") chosen.push_back(&each);
  }
  if (text == "all") return chosen;
  for (const std::string& name : split(text)) {
    const Some* found = nullptr;
    for (const Some& each : from) found = name == each.name ? &each : found;
    if (found == nullptr) refuse(argument, text, "all, or some of " + names);
    if (std::find(chosen.begin(), chosen.end(), found) != chosen.end()) refuse(argument, text, "each name once");
    chosen.push_back(found);
  }
  return chosen;
}

}  // namespace

options parse(int argc, char** argv) {
  options o;
  shape& e = o.of_any_rule;
  CLI::App app(
      "Runs recurrences over a sequence by every schedule of their scan on several ranks, threads of this process,\n"
      "and tells what each sent, how long it took and how far it is from the fp64 definition.\n"
      "Exit code: 0 when every error is at most 1.5 times that of one rank alone, or a few roundoffs of sums more,\n"
      "every byte and round was expected, and schedules of the serial order gave the bits of a chain; 1 when not, 2 "
      "for an\n"
      "argument that is not allowed.",
      "compare_scans");
  std::string ranks, rule_text = "all", schedule_text = "all", seq, batch, heads, dim, value_dim, chunk, pieces, node,
                     seed, repeats;
  auto const add = [&app](const char* name, std::string& to, const char* type, const char* what) {
    return app.add_option(name, to, what)->type_name(type);
  };
  add("--ranks", ranks, "P", "Number of ranks (default 4)");
  add("--rule", rule_text, "NAMES",
      "all (default), or some of\n"
      "linear,retention,scalar,gla,delta,gated_delta,kda,rwkv7,hgrn,lru,mamba1,mlstm,convolution");
  add("--schedule", schedule_text, "NAMES",
      "all (default), or some of "
      "chain,pipelined_chain,gather_ring,gather_bruck,all_to_all,hillis_steele,doubling_123,\n"
      "recursive_doubling,two_level");
  add("--seq", seq, "N", "Tokens (default 1024), at least one for each rank");
  add("--batch", batch, "B", "Sequences at once (default 1)");
  add("--heads", heads, "H", "Heads (default 4)");
  add("--dim", dim, "D",
      "Size of a head's queries and keys, states of a channel of mamba1 (default 32); hgrn, lru\nand convolution (of 4 "
      "tokens) have neither it nor chunks");
  add("--value-dim", value_dim, "D", "Size of a head's values, or its channels (default that of keys)");
  add("--chunk", chunk, "C", "Tokens that are worked on together (default 64)");
  add("--pieces", pieces, "K", "Pieces of a state in pipelined_chain (default 4, or the value dim)");
  add("--ranks-per-node", node, "N", "Of two_level, a divisor of the ranks (default 2)");
  add("--layout", o.layout_text, "LAYOUT", ringfold::examples::layouts_help);
  add("--documents", o.documents_text, "LENGTHS",
      "L1,L2,...: documents that begin with nothing, and make up the sequence");
  app.add_flag("--backward", e.backward,
               "Run, count and check the backward pass too, for a random gradient of the output");
  add("--seed", seed, "S", "Of the random input (default 1)");
  add("--repeat", repeats, "R", "Timed calls, after one that is not (default 5)");
  auto* const json = add("--json", o.json, "FILE", "Write the results there as JSON; - is the standard output");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    o.help = true;
    fmt::print("{}", app.help());
    return o;
  } catch (const CLI::ExtrasError&) {
    std::string known;
    for (const CLI::Option* each : app.get_options()) known += (known.empty() ? "" : " ") + each->get_name();
    refuse("unknown argument", app.remaining().front(), known);
  } catch (const CLI::ParseError& error) {
    throw ringfold::usage_error(ringfold::say("%s (see --help)", error.what()));
  }

  auto const number = [&app]<class N>(const char* name, const std::string& text, N& to, N high) {
    if (app.count(name) > 0) to = whole_number<N>(name, text, text, 1, high);
  };
  number("--ranks", ranks, o.ranks, 1024);
  number("--seq", seq, e.seq, longest);
  number("--batch", batch, e.batch, longest);
  number("--heads", heads, e.heads, longest);
  number("--dim", dim, e.dim, longest);
  e.value_dim = e.dim;
  number("--value-dim", value_dim, e.value_dim, longest);
  number("--chunk", chunk, e.chunk, longest);
  number("--repeat", repeats, o.repeats, 1'000'000);
  if (e.seq < o.ranks) refuse("--seq", std::to_string(e.seq), fmt::format("at least the {} ranks", o.ranks));
  e.tokens = ringfold::examples::layout_named(o.layout_text, e.seq, o.ranks);
  o.pieces = static_cast<int>(std::min<extent>(4, e.value_dim));
  if (app.count("--pieces") > 0) {
    o.pieces = static_cast<int>(whole_number<extent>("--pieces", pieces, pieces, 1, std::min(longest, e.value_dim)));
  }
  if (app.count("--seed") > 0) {
    o.seed = whole_number<std::uint64_t>("--seed", seed, seed, 0, std::numeric_limits<std::uint64_t>::max());
  }
  number("--ranks-per-node", node, o.ranks_per_node, 1024);
  bool const whole = o.ranks % o.ranks_per_node == 0;
  auto const every = ringfold::examples::all_schedules(o.pieces, o.ranks_per_node);
  for (const rule* each : named<rule>("--rule", rule_text, rules)) o.rules.push_back(each);
  for (const any_schedule* each : named<any_schedule>("--schedule", schedule_text, every)) {
    if (each->name != std::string("two_level") || whole) {
      o.schedules.push_back(*each);
    } else if (schedule_text != "all" || app.count("--ranks-per-node") > 0) {
      refuse("--ranks-per-node", std::to_string(o.ranks_per_node), fmt::format("divisors of the {} ranks", o.ranks));
    }
  }
  std::vector<extent> lengths{e.seq};
  if (app.count("--documents") > 0) {
    lengths.clear();
    extent sum = 0;
    for (const std::string& each : split(o.documents_text)) {
      lengths.push_back(whole_number<extent>("--documents", o.documents_text, each, 0, longest, "L1,L2,... with "));
      sum += lengths.back();
    }
    if (sum != e.seq) {
      refuse("--documents", o.documents_text,
             fmt::format("lengths that add up to the {} tokens, not to {}", e.seq, sum));
    }
  }
  e.packed = ringfold::documents(ringfold::span<const extent>(lengths.data(), lengths.size()));
  if (json->count() > 0 && o.json.empty()) refuse("--json", "", "a file that can be written, or -");
  ringfold::examples::check_writable("--json", o.json);
  return o;
}

}  // namespace compare_scans
