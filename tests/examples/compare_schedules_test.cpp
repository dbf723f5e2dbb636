// timeout: 300 s
#include <doctest/doctest.h>

#ifndef RINGFOLD_COMPARE_SCHEDULES
TEST_CASE("compare_schedules is not built here") { MESSAGE("needs CLI11 and nlohmann-json, and no sanitizer"); }
#else

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "../../examples/support/npy.hpp"
#include "support/program.hpp"

namespace {

using nlohmann::json;
namespace fs = std::filesystem;
using programs::outcome, programs::temporary_directory, programs::text_of;

/// Runs a command line; launcher goes before the program.
outcome run(const std::string& arguments, const std::string& launcher = "") {
  return programs::run(launcher + " " RINGFOLD_COMPARE_SCHEDULES " " + arguments);
}

/// Runs and reads what --json - wrote; the run must be right.
json results(const std::string& arguments, const std::string& launcher = "") {
  CAPTURE(arguments);
  outcome const did = run(arguments + " --json -", launcher);
  CAPTURE(did.err);
  REQUIRE(did.code == 0);
  return json::parse(did.out);
}

std::string const data = RINGFOLD_SOURCE_DIR "/examples/data/";
std::string layer(int number, const char* tensor) {
  return data + "layer" + std::to_string(number) + "_" + tensor + ".npy";
}
std::string input(int number) { return layer(number, "q") + "," + layer(number, "k") + "," + layer(number, "v"); }

std::vector<std::string> names_of(const json& all) {
  std::vector<std::string> names;
  for (const json& each : all) names.push_back(each.at("schedule"));
  return names;
}

/// What must hold of every object of the JSON.
void check(const json& one) {
  CAPTURE(one.dump());
  CHECK(one.at("seconds_median").get<double>() > 0);
  CHECK(one.at("tokens_per_second").get<double>() ==
        doctest::Approx(one.at("seq").get<double>() / one.at("seconds_median").get<double>()));
  CHECK(one.at("bytes_sent_max") == one.at("bytes_expected"));
  CHECK(one.at("bitwise_repeatable") == true);
  CHECK(one.at("max_abs_error").get<double>() >= one.at("rms_error").get<double>());
  CHECK(one.at("max_abs_error").get<double>() <= one.at("max_abs_error_allowed").get<double>());
  CHECK(one.at("rms_error").get<double>() <= one.at("rms_error_allowed").get<double>());
  if (one.contains("backward_seconds")) {
    CHECK(one.at("backward_seconds").get<double>() > 0);
    CHECK(one.at("bytes_sent_backward") == one.at("bytes_expected_backward"));
    CHECK(one.at("grad_max_abs_error").get<double>() > 0);
    CHECK(one.at("grad_max_abs_error").get<double>() <= one.at("grad_max_abs_error_allowed").get<double>());
  }
  if (one.at("ranks") == 1) {
    CHECK(one.at("steps") == 0);
    CHECK(one.at("bytes_sent_max") == 0);
  }
}

std::vector<std::string> const every{"ring",        "gather", "ulysses",    "usp",
                                     "double_ring", "direct", "query_ring", "split_kv"};

}  // namespace

TEST_CASE("a backward pass is run, counted and held against the definition") {
  json const all = results("--ranks 4 --seq 64 --heads 8 --kv-heads 2 --dim 16 --value-dim 8 --repeat 2 --backward");
  CHECK(names_of(all) == every);
  for (const json& one : all) {
    check(one);
    CHECK(one.at("order") == "fast");
    CHECK(one.at("grad_max_abs_error").get<double>() < 1e-5);
  }
  // Blocks and as many numbers of gradients: 16 rows of a rank, 2 kv heads of 16 + 8 numbers, 4 bytes each.
  std::int64_t const block = 16 * 2 * (16 + 8) * 4;
  CHECK(all[0]["bytes_sent_backward"] == 2 * 3 * block);
  CHECK(all[0]["steps_backward"] == 2 * 3);
  CHECK(all[1]["bytes_sent_backward"] == 2 * 3 * block);
  // Where queries travel, 8 query heads: q, dout, lse and delta there, and dq back.
  std::int64_t const rows = 16 * 8 * ((16 + 8) + 2 + 16) * 4;
  CHECK(all[6]["bytes_sent_backward"] == 3 * rows);
  CHECK(all[6]["steps_backward"] == 2 * 3);
  CHECK(all[7]["bytes_sent_backward"] == 3 * rows);
  CHECK(all[7]["steps_backward"] == 2);
}

TEST_CASE("every feature, alone and together, by every schedule") {
  for (const char* const arguments :
       {"--softcap 2", "--alibi", "--sinks", "--dropout 0.3", "--prefix 40 --mask causal",
        "--queries 7 --mask causal --layout striped", "--queries 90 --mask window:5",
        "--documents 3,30,0,20 --mask causal",
        "--documents 3,30,0,20 --mask window:9,2 --layout zigzag --sinks --softcap 2",
        "--softcap 4 --alibi --sinks --dropout 0.1 --prefix 17 --mask causal --layout zigzag --kv-heads 2 --batch 2"}) {
    for (const char* const type : {"f32", "bf16", "f64"}) {
      CAPTURE(arguments);
      CAPTURE(type);
      json const all =
          results(std::string("--ranks 4 --seq 60 --dim 16 --repeat 1 --backward --dtype ") + type + " " + arguments);
      CHECK(names_of(all) == every);
      for (const json& one : all) check(one);
    }
  }
}

TEST_CASE("in canonical order every schedule that keeps it gives the bits of one rank") {
  json const all =
      results("--ranks 4 --seq 60 --dim 16 --kv-heads 2 --repeat 1 --backward --mask causal --order canonical:8");
  CHECK(names_of(all) == std::vector<std::string>{"ring", "gather", "ulysses", "usp", "double_ring"});
  for (const json& one : all) {
    check(one);
    CHECK(one.at("order") == "canonical:8");
    CHECK(one.at("max_abs_error") == all[0].at("max_abs_error"));
    CHECK(one.at("rms_error") == all[0].at("rms_error"));
  }
}

TEST_CASE("features that cannot be are refused with one line") {
  auto const refused = [](const std::string& arguments, const std::string& line) {
    CAPTURE(arguments);
    outcome const did = run("--seq 20 " + arguments);
    CHECK(did.code == 2);
    CHECK(did.out.empty());
    CHECK(did.err == "compare_schedules: " + line + "\n");
  };
  refused("--softcap 0", "--softcap 0: allowed: numbers from 1e-30 to 1e30");
  refused("--softcap nan", "--softcap nan: allowed: numbers from 1e-30 to 1e30");
  refused("--order slow", "--order slow: allowed: fast, canonical[:CHUNK]");
  refused("--order canonical --schedule split_kv",
          "--schedule split_kv: it does not keep to one order; allowed: --order fast");
  refused("--order canonical:3 --layout striped:4",
          "--layout striped:4: it cuts chunks of 3 tokens; allowed with --order canonical:3: contiguous, zigzag, "
          "striped, or multiples of 3");
  refused("--order canonical:5 --prefix 7",
          "--prefix 7: it ends within a chunk; allowed with --order canonical:5: multiples of 5");
  refused("--dropout 1", "--dropout 1: allowed: numbers from 0 to below 1");
  refused("--documents 5,x", "--documents 5,x: allowed: L1,L2,... with whole numbers from 0 to 2147483647");
  refused("--documents 5,16", "--documents 5,16: 21 tokens; allowed: at most the 20 of the sequence");
  refused("--prefix 3 --documents 4", "--prefix 3: allowed: none with --documents");
  refused("--queries 0", "--queries 0: allowed: whole numbers from 1 to 2147483647");
  refused("--queries 3 --input " + input(0), "--queries 3: allowed: none with --input");
}

TEST_CASE("the JSON has these fields, of these types") {
  json const all = results(
      "--ranks 4 --seq 64 --heads 8 --kv-heads 2 --dim 16 --value-dim 8 --repeat 2 --mask window:70,70 "
      "--layout zigzag");
  CHECK(names_of(all) == every);
  for (const json& one : all) {
    std::set<std::string> fields;
    for (const auto& [name, value] : one.items()) fields.insert(name);
    CHECK(fields == std::set<std::string>{"schedule", "ranks", "layout", "mask", "dtype", "seq", "seconds_median",
                                          "tokens_per_second", "order", "steps", "bytes_sent_max", "bytes_expected",
                                          "workspace_bytes", "max_abs_error", "rms_error", "bitwise_repeatable",
                                          "max_abs_error_allowed", "rms_error_allowed"});
    CHECK(one["ranks"] == 4);
    CHECK(one["layout"] == "zigzag");
    CHECK(one["mask"] == "window:70,70");
    CHECK(one["dtype"] == "f32");
    CHECK(one["seq"] == 64);
    for (const char* name : {"ranks", "seq", "steps", "bytes_sent_max", "bytes_expected", "workspace_bytes"}) {
      CHECK(one[name].is_number_integer());
    }
    for (const char* name : {"seconds_median", "tokens_per_second", "max_abs_error", "rms_error"}) {
      CHECK(one[name].is_number_float());
    }
    CHECK(one["bitwise_repeatable"].is_boolean());
    CHECK(one["workspace_bytes"].get<std::int64_t>() > 0);
    CHECK(one["max_abs_error"].get<double>() > 0);
    CHECK(one["max_abs_error"].get<double>() < 1e-5);
    check(one);
  }
  // The closed forms: 16 rows of a rank, 2 kv heads of 16 + 8 numbers, 4 bytes each.
  std::int64_t const block = 16 * 2 * (16 + 8) * 4;
  CHECK(all[0]["bytes_sent_max"] == 3 * block);
  CHECK(all[0]["steps"] == 3);
  CHECK(all[1]["bytes_sent_max"] == 3 * block);
  CHECK(all[1]["steps"] == 2);
  // 3 peers: 2 query heads there, 1 kv head with them, and 2 outputs with their lse back.
  CHECK(all[2]["bytes_sent_max"] == 3 * 16 * (2 * 16 + (16 + 8) + 2 * (8 + 1)) * 4);
  CHECK(all[2]["steps"] == 3);
  CHECK(all[4]["bytes_sent_max"] == 3 * block);
  CHECK(all[5]["bytes_sent_max"] == 3 * block);  // the window sees everything
  CHECK(all[5]["steps"] == 1);
  // Where queries travel, 8 query heads: q there, an output with its lse back.
  CHECK(all[6]["bytes_sent_max"] == 3 * 16 * 8 * (16 + (8 + 1)) * 4);
  CHECK(all[6]["steps"] == 2 * 3);
  CHECK(all[7]["bytes_sent_max"] == 3 * 16 * 8 * (16 + (8 + 1)) * 4);
  CHECK(all[7]["steps"] == 2);
}

TEST_CASE("real input: every layer, on 1 to 8 ranks, by every schedule") {
  for (int const number : {0, 2, 5}) {
    for (int ranks = 1; ranks <= 8; ++ranks) {
      std::string const as = ranks % 2 == 0 ? " --dtype f32" : "";
      json const all = results("--input " + input(number) + "," + layer(number, "o") + " --repeat 1 --ranks " +
                               std::to_string(ranks) + as);
      CHECK(names_of(all) == every);
      for (const json& one : all) {
        check(one);
        CHECK(one["dtype"] == (ranks % 2 == 0 ? "f32" : "f16"));
        CHECK(one["seq"] == 512);
        double const to_o = one.at("max_abs_error_to_o"), allowed = one.at("max_abs_error_to_o_allowed");
        CHECK(to_o <= allowed);
        // Outputs are below 4; f16 rounds them to 2^-10, and fp32 must do much better.
        CHECK(allowed < (ranks % 2 == 0 ? 1e-4 : 2e-3));
      }
    }
  }
}

TEST_CASE("every pair of type and mask, over layouts, head ratios and ranks") {
  const char* const layouts[] = {"contiguous", "zigzag", "striped", "striped:3", "uneven"};
  const char* const heads[] = {"--heads 6 --kv-heads 3", "--heads 4", "--heads 8 --kv-heads 1 --batch 2"};
  int number = 0;
  for (const char* dtype : {"f32", "f64", "bf16", "f16"}) {
    for (const char* mask : {"full", "causal", "window:5", "window:3,9", "window:0"}) {
      int const ranks = 2 + number % 5;
      std::string shape = layouts[number % 5];
      if (shape == "uneven") {
        shape += ":0";  // the first rank has nothing, the last one most
        for (int rank = 1; rank < ranks; ++rank) shape += "," + std::to_string(rank + 1 < ranks ? 1 : 47 - (ranks - 2));
      }
      json const all = results("--seq 47 --dim 24 --value-dim 10 --repeat 1 --dtype " + std::string(dtype) +
                               " --mask " + mask + " --layout " + shape + " --ranks " + std::to_string(ranks) + " " +
                               heads[number % 3] + " --seed " + std::to_string(number));
      CHECK(all.size() >= 4);
      for (const json& one : all) check(one);
      ++number;
    }
  }
}

TEST_CASE("all leaves out what cannot run, and says why") {
  json const all = results("--ranks 5 --heads 4 --seq 20 --repeat 1");
  CHECK(names_of(all) ==
        std::vector<std::string>{"ring", "gather", "usp", "double_ring", "direct", "query_ring", "split_kv"});
  outcome const did = run("--ranks 5 --heads 4 --seq 20 --repeat 1");
  CHECK(did.out.find("left out: 5 ranks share 4 query heads; allowed: at most 4") != std::string::npos);
  CHECK(did.out.find("\nRIGHT: ") != std::string::npos);
}

TEST_CASE("a given output that is not this attention's is found, and the exit code is 1") {
  temporary_directory const where;
  for (const std::string& arguments :
       {"--input " + input(2) + "," + layer(2, "v"), "--mask causal --input " + input(2) + "," + layer(2, "o"),
        "--dtype bf16 --mask causal --input " + input(2) + "," + layer(2, "o")}) {
    CAPTURE(arguments);
    outcome const did = run(arguments + " --repeat 1 --schedule ring --json " + (where / "r.json"));
    CHECK(did.code == 1);
    CHECK(did.out.find("\nWRONG: the given output is off fp64 by ") != std::string::npos);
    CHECK(json::parse(text_of(where / "r.json")).size() == 1);
  }
}

TEST_CASE("a trace has a process for each schedule, and a track for each rank") {
  temporary_directory const where;
  outcome const did = run("--ranks 3 --seq 40 --repeat 1 --schedule ring,ulysses --trace " + (where / "t.json"));
  REQUIRE(did.code == 0);
  json const trace = json::parse(text_of(where / "t.json"));
  std::vector<std::string> processes;
  std::set<std::string> computed;
  for (const json& each : trace.at("traceEvents")) {
    if (each.at("name") == "process_name") processes.push_back(each.at("args").at("name"));
    if (each.at("ph") != "X") continue;
    CHECK(each.at("ts").get<double>() >= 0);
    if (each.at("name") == "accumulate") computed.insert(each.at("pid").dump() + "." + each.at("tid").dump());
  }
  CHECK(processes == std::vector<std::string>{"ring", "ulysses"});
  CHECK(computed == std::set<std::string>{"0.0", "0.1", "0.2", "1.0", "1.1", "1.2"});
}

TEST_CASE("bad input: one line that names argument, value and what is allowed, exit code 2, and nothing written") {
  using ringfold::examples::npy_array;
  using ringfold::examples::write_npy;
  temporary_directory const files;
  auto const array = [&](const char* name, ringfold::dtype type, std::vector<ringfold::extent> shape) {
    npy_array made{type, shape, {}};
    std::size_t count = static_cast<std::size_t>(type.bytes());
    for (ringfold::extent const each : shape) count *= static_cast<std::size_t>(each);
    made.bytes.resize(count);
    write_npy(files / name, made);
    return files / name;
  };
  auto const f32 = ringfold::dtype_of<float>;
  std::string const q = array("q.npy", f32, {1, 8, 4, 6}), k = array("k.npy", f32, {1, 8, 2, 6});
  std::string const v = array("v.npy", f32, {1, 8, 2, 5}), o = array("o.npy", f32, {1, 8, 4, 5});
  std::string const flat = array("flat.npy", f32, {8, 4, 6}), short_k = array("short.npy", f32, {1, 7, 2, 6});
  std::string const three = array("three.npy", f32, {1, 8, 3, 6}), v3 = array("v3.npy", f32, {1, 8, 3, 5});
  std::string const half = array("half.npy", ringfold::dtype_of<ringfold::f16>, {1, 8, 2, 5});
  std::string const empty = array("empty.npy", f32, {1, 0, 4, 6});
  auto const edited = [&](const char* name, auto edit) {
    std::string text = text_of(q);
    edit(text);
    std::ofstream(files / name) << text;
    return files / name;
  };
  std::string const truncated = edited("truncated.npy", [](std::string& t) { t.pop_back(); });
  std::string const fortran = edited("fortran.npy", [](std::string& t) { t.replace(t.find("False"), 5, "True "); });
  std::string const integers = edited("integers.npy", [](std::string& t) { t.replace(t.find("<f4"), 3, "<i4"); });

  REQUIRE(run("--repeat 1 --input " + q + "," + k + "," + v).code == 0);
  struct bad {
    std::string arguments, told;
  };
  std::vector<bad> const all{
      {"--ranks 0", "--ranks 0: allowed: whole numbers from 1 to 1024"},
      {"--ranks -1", "--ranks -1: allowed: whole numbers from 1 to"},
      {"--ranks 4x", "--ranks 4x: allowed: whole numbers"},
      {"--ranks --seq 8", "--ranks"},
      {"--ranks 2 --ranks 3", "--ranks: "},
      {"--speed 3", "unknown argument --speed: allowed: --help --ranks "},
      {"ring", "unknown argument ring: allowed: "},
      {"--schedule ring,rong",
       "--schedule ring,rong: allowed: all, or some of ring, gather, ulysses, usp, double_ring, direct, query_ring, "
       "split_kv"},
      {"--schedule ring,", "--schedule ring,: allowed: all"},
      {"--schedule ring,ring", "--schedule ring,ring: allowed: each name once"},
      {"--schedule ulysses --ranks 5 --heads 4", "--schedule ulysses: 5 ranks share 4 query heads; allowed: at most 4"},
      {"--schedule ring,usp --ranks 9 --heads 2",
       "--schedule usp: 3 columns of 9 ranks share 2 query heads; allowed: at most 2"},
      {"--seq 0", "--seq 0: allowed: whole numbers from 1 to"},
      {"--seq 9999999999999999999999", "--seq 9999999999999999999999: allowed: whole numbers"},
      {"--seq 2147483647 --batch 2147483647 --heads 1000", "GiB; allowed: the "},
      {"--batch 0", "--batch 0: allowed: "},
      {"--heads 0", "--heads 0: allowed: "},
      {"--heads 6 --kv-heads 4", "--kv-heads 4: allowed: divisors of the 6 query heads"},
      {"--kv-heads 0", "--kv-heads 0: allowed: "},
      {"--dim 0", "--dim 0: allowed: "},
      {"--value-dim 1.5", "--value-dim 1.5: allowed: "},
      {"--dtype fp32", "--dtype fp32: allowed: f32, f64, bf16, f16"},
      {"--mask window", "--mask window: allowed: full, causal, window:L[,R]"},
      {"--mask window:-1", "--mask window:-1: allowed: window:L[,R] with whole numbers from 0"},
      {"--mask window:1,2,3", "--mask window:1,2,3: allowed: full, causal, window:L[,R]"},
      {"--layout zebra", "--layout zebra: allowed: contiguous, zigzag, striped[:WIDTH], uneven:A,B,..."},
      {"--layout striped:0", "--layout striped:0: allowed: striped[:WIDTH], whole numbers from 1"},
      {"--layout uneven:4,5 --seq 9", "--layout uneven:4,5: allowed: one length for each of 4 ranks, not 2"},
      {"--layout uneven:4,5 --seq 8 --ranks 2",
       "--layout uneven:4,5: allowed: lengths that add up to the 8 tokens, not to 9"},
      {"--layout uneven:-1,9 --seq 8 --ranks 2",
       "--layout uneven:-1,9: allowed: uneven:A,B,... with whole numbers from 0"},
      {"--seed -1", "--seed -1: allowed: whole numbers from 0"},
      {"--repeat 0", "--repeat 0: allowed: whole numbers from 1"},
      {"--trace -", "--trace -: allowed: a file of its own"},
      {"--input " + q, "--input " + q + ": allowed: 3 or 4 files: q.npy,k.npy,v.npy[,o.npy]"},
      {"--input " + q + "," + k + "," + (files / "none.npy"),
       "none.npy: cannot be opened (No such file or directory); allowed: "},
      {"--input " + truncated + "," + k + "," + v, "bytes of data; allowed: "},
      {"--input " + fortran + "," + k + "," + v, "fortran_order is True; allowed: C order"},
      {"--input " + integers + "," + k + "," + v, "dtype is '<i4'; allowed: '<f2', '<f4', '<f8'"},
      {"--input " + flat + "," + k + "," + v, "flat.npy: 3 axes; allowed: 4, [batch, seq, heads, dim]"},
      {"--input " + empty + "," + k + "," + v, "empty.npy: axis 1 is empty; allowed: 1 or more"},
      {"--input " + q + "," + short_k + "," + v, "short.npy: seq is 7; allowed: 8, as in q"},
      {"--input " + q + "," + k + "," + v3, "v3.npy: heads is 3; allowed: 2, as in k"},
      {"--input " + q + "," + three + "," + v3, "--kv-heads 3: allowed: divisors of the 4 query heads"},
      {"--input " + q + "," + k + "," + v + "," + v, "v.npy: heads is 2; allowed: 4, as in q and v"},
      {"--input " + q + "," + k + "," + half, "half.npy: f16, but q is f32; allowed: one type for all, or say --dtype"},
      {"--heads 8 --input " + q + "," + k + "," + v + "," + o,
       "--heads 8: " + q + " has 4; allowed: that, or leave it out"},
      {"--value-dim 6 --input " + q + "," + k + "," + v, "--value-dim 6: " + v + " has 5; allowed: that"},
  };
  temporary_directory const where;
  auto const refused = [&](const std::string& arguments, const std::string& told) {
    CAPTURE(arguments);
    outcome const did = run(arguments);
    CHECK(did.code == 2);
    CHECK(did.out == "");
    INFO(did.err);
    CHECK(did.err.starts_with("compare_schedules: "));
    CHECK(did.err.find(told) != std::string::npos);
    CHECK(did.err.find('\n') + 1 == did.err.size());
    CHECK(where.files() == 0);
  };
  for (const bad& each : all) {
    bool const traced = each.arguments.starts_with("--trace");
    refused(each.arguments + " --json " + (where / "r.json") + (traced ? "" : " --trace " + (where / "t.json")),
            each.told);
  }
  std::string const nowhere = where / "no/such/r.json";
  refused("--json " + nowhere, "--json " + nowhere + ": cannot be written (No such file or directory); allowed: ");
  refused("--json " + (where / "r.json") + " --trace " + nowhere, "--trace " + nowhere + ": cannot be written");
  refused("--json " + (where / "a") + " --trace " + (where / "a"),
          "--trace " + (where / "a") + ": allowed: a file of its own");
}

TEST_CASE("--help tells every option and its default") {
  outcome const did = run("--help");
  CHECK(did.code == 0);
  CHECK(did.err == "");
  for (const char* option :
       {"--ranks", "--schedule", "--seq", "--batch", "--heads", "--kv-heads", "--dim", "--value-dim", "--dtype",
        "--mask", "--layout", "--input", "--seed", "--repeat", "--json", "--trace"}) {
    CHECK(did.out.find(option) != std::string::npos);
  }
}

#ifdef RINGFOLD_MPIRUN
TEST_CASE("under mpirun the ranks are processes") {
  std::string const two = RINGFOLD_MPIRUN " 2";
  json const all = results("--input " + input(5) + "," + layer(5, "o") + " --repeat 1 --layout zigzag", two);
  CHECK(names_of(all) == every);
  for (const json& one : all) {
    check(one);
    CHECK(one["ranks"] == 2);
  }
  for (const json& one :
       results("--ranks 3 --dtype bf16 --mask window:9 --layout uneven:0,30,11 --seq 41 --repeat 1 --heads 6",
               RINGFOLD_MPIRUN " 3")) {
    check(one);
  }

  temporary_directory const where;
  outcome const other = run("--ranks 3 --json " + (where / "r.json"), two);
  CHECK(other.code == 2);
  CHECK(other.err.find("compare_schedules: --ranks 3: allowed: the 2 processes that mpirun started") !=
        std::string::npos);
  outcome const nowhere = run("--seq 16 --json " + (where / "no/r.json") + " --trace " + (where / "t.json"), two);
  CHECK(nowhere.code == 2);
  CHECK(nowhere.err.find("no/r.json: cannot be written (No such file or directory)") != std::string::npos);
  CHECK(where.files() == 0);
}
#endif

#endif
