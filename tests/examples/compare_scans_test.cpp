// timeout: 300 s
#include <doctest/doctest.h>

#ifndef RINGFOLD_COMPARE_SCANS
TEST_CASE("compare_scans is not built here") { MESSAGE("needs CLI11 and nlohmann-json, and no sanitizer"); }
#else

#include <set>
#include <string>

#include <nlohmann/json.hpp>

#include "support/program.hpp"

namespace {

using nlohmann::json;

programs::outcome run(const std::string& arguments) { return programs::run(RINGFOLD_COMPARE_SCANS " " + arguments); }

/// Runs and reads what --json - wrote; the run must be right.
json results(const std::string& arguments) {
  CAPTURE(arguments);
  auto const did = run(arguments + " --json -");
  CAPTURE(did.err);
  REQUIRE(did.code == 0);
  return json::parse(did.out);
}

std::set<std::string> const in_order{"chain", "pipelined_chain", "gather_ring", "gather_bruck", "all_to_all"};

}  // namespace

TEST_CASE("every rule by every schedule, forward and backward") {
  json const all = results("--ranks 4 --seq 90 --heads 2 --dim 8 --value-dim 6 --chunk 16 --repeat 1 --backward");
  CHECK(all.size() == 13 * 9);
  for (const json& one : all) {
    CAPTURE(one.dump());
    CHECK(one.at("rounds") == one.at("rounds_expected"));
    CHECK(one.at("rounds_backward") == one.at("rounds_expected"));
    CHECK(one.at("bytes_sent_max") == one.at("bytes_expected"));
    CHECK(one.at("bytes_sent_max_backward") == one.at("bytes_expected"));
    bool const serial = in_order.count(one.at("schedule")) == 1;
    CHECK(one.at("order_preserving") == serial);
    if (serial) CHECK(one.at("bits_of_a_chain") == true);
    CHECK(one.at("max_abs_error").get<double>() < 1e-5);
    CHECK(one.at("grad_max_abs_error").get<double>() < 1e-2);
    CHECK(one.at("seconds_median").get<double>() > 0);
  }
  // A state of two heads is 2 x 8 x 6 floats; a chain of four ranks in four pieces takes 4 - 2 + 4 rounds.
  CHECK(all[0].at("bytes_sent_max") == 384);
  CHECK(all[0].at("rounds") == 3);
  CHECK(all[1].at("rounds") == 6);
  CHECK(all[1].at("bytes_sent_max") == 384);
  // Gates of gla make elements larger by 2 x 8 floats: the last but one sends two of them and a state.
  CHECK(all[29].at("schedule") == "gather_ring");
  CHECK(all[29].at("bytes_sent_max") == 2 * (384 + 64) + 384);
}

TEST_CASE("ranks that own several slots") {
  for (const char* const arguments :
       {"--layout zigzag", "--layout striped:5 --rule linear,kda,lru",
        "--layout striped --rule delta,mlstm,convolution", "--layout uneven:0,30,1,29 --rule rwkv7,mamba1"}) {
    json const all =
        results(std::string("--seq 60 --heads 2 --dim 8 --value-dim 6 --chunk 16 --repeat 1 --backward ") + arguments);
    for (const json& one : all) {
      CAPTURE(one.dump());
      CHECK(one.at("rounds") == one.at("rounds_expected"));
      CHECK(one.at("bytes_sent_max") == one.at("bytes_expected"));
      CHECK(one.at("rounds_backward") == one.at("rounds_expected_backward"));
      CHECK(one.at("bytes_sent_max_backward") == one.at("bytes_expected_backward"));
      if (one.at("order_preserving") == true) CHECK(one.at("bits_of_a_chain") == true);
    }
    if (all[0].at("layout") != "zigzag") continue;
    CHECK(all.size() == 13 * 9);
    // Of 8 slots the middle two are with one rank, which hands on all 4 pieces of one before those of the other.
    CHECK(all[0].at("rounds") == 6);
    CHECK(all[0].at("bytes_sent_max") == 2 * 384);
    CHECK(all[1].at("rounds") == 2 * (3 + 4 - 1));
    CHECK(all[2].at("rounds") == 3);
  }
}

TEST_CASE("documents, pieces, nodes and other numbers of ranks") {
  for (const char* const arguments :
       {"--ranks 5 --seq 61 --documents 20,1,0,40 --backward --chunk 7",
        "--ranks 3 --seq 61 --documents 20,1,0,40 --backward --chunk 7 --layout zigzag --rule scalar,retention",
        "--ranks 1 --seq 9 --backward",
        "--ranks 6 --seq 48 --ranks-per-node 3 --pieces 2 --schedule two_level,pipelined_chain --rule gla"}) {
    for (const json& one : results(std::string(arguments) + " --heads 2 --dim 4 --repeat 1")) {
      CAPTURE(one.dump());
      CHECK(one.at("right") == true);
      if (one.at("expected_is_at_most") == false) CHECK(one.at("bytes_sent_max") == one.at("bytes_expected"));
    }
  }
}

TEST_CASE("a table is printed where no JSON is, and bad arguments are refused by one line") {
  auto const did = run("--ranks 2 --seq 16 --heads 1 --dim 4 --repeat 1 --rule linear --schedule chain");
  CHECK(did.code == 0);
  CHECK(did.out.find("linear      chain ") != std::string::npos);
  auto const refused = [](const std::string& arguments, const std::string& why) {
    CAPTURE(arguments);
    auto const by = run(arguments);
    CHECK(by.code == 2);
    CHECK(by.err == "compare_scans: " + why + "\n");
  };
  refused("--rule gated",
          "--rule gated: allowed: all, or some of linear, retention, scalar, gla, delta, gated_delta, kda, rwkv7, "
          "hgrn, lru, "
          "mamba1, mlstm, convolution");
  refused("--seq 3", "--seq 3: allowed: at least the 4 ranks");
  refused("--dim 8 --pieces 9", "--pieces 9: allowed: whole numbers from 1 to 8");
  refused("--seq 10 --documents 4,5", "--documents 4,5: allowed: lengths that add up to the 10 tokens, not to 9");
  refused("--ranks-per-node 3", "--ranks-per-node 3: allowed: divisors of the 4 ranks");
  refused("--schedule chain,chain", "--schedule chain,chain: allowed: each name once");
  refused("--layout spiral",
          "--layout spiral: allowed: contiguous, zigzag, striped[:WIDTH], uneven:A,B,... (one length per rank)");
  refused("--seq 10 --layout uneven:1,2,3,5",
          "--layout uneven:1,2,3,5: allowed: lengths that add up to the 10 tokens, not to 11");
  auto const large = run("--rule gla --seq 100000000 --heads 64");
  CHECK(large.code == 2);
  CHECK(large.err.find(
            "compare_scans: --rule gla --seq 100000000 --batch 1 --heads 64 --dim 32 --value-dim 32 --chunk 64 "
            "--layout contiguous need ") == 0);
}

#endif
