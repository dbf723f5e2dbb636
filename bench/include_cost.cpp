#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

/// \file
/// What including a header costs a translation unit: the compiler's processor time over an empty file's, the best of
/// five. Processor time, because wall time is what other programs make of it.

namespace {

namespace files = std::filesystem;

struct scratch {
  files::path folder = files::temp_directory_path() / ("ringfold_include_cost_" + std::to_string(std::rand()));
  scratch() { files::create_directories(folder); }
  ~scratch() { files::remove_all(folder); }
};

/// Processor seconds of all child processes so far.
double children() {
  rusage used{};
  getrusage(RUSAGE_CHILDREN, &used);
  auto const seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

double seconds_to_compile(const std::string& header) {
  static scratch const here;
  files::path const source = here.folder / "include_cost.cpp";
  std::ofstream(source) << (header.empty() ? "" : "#include <" + header + ">\n");
  std::string const command =
      std::string(RINGFOLD_CXX) + " -std=c++20 -fsyntax-only -I" RINGFOLD_SOURCE_DIR "/include " + source.string();
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 5; ++i) {
    double const start = children();
    if (std::system(command.c_str()) != 0) return std::numeric_limits<double>::quiet_NaN();
    best = std::min(best, children() - start);
  }
  return best;
}

void include(benchmark::State& bench, const std::string& header) {
  for (auto _ : bench) {
    double const empty = seconds_to_compile(""), with = seconds_to_compile(header);
    bench.SetIterationTime(with);
    bench.counters["over_empty_ms"] = (with - empty) * 1e3;
  }
}

}  // namespace

int main(int count, char** arguments) {
  std::vector<std::string> headers;
  files::path const root = RINGFOLD_SOURCE_DIR "/include";
  for (const auto& entry : files::recursive_directory_iterator(root)) {
    std::string const name = files::relative(entry.path(), root).string();
    bool const needs_mpi = name.find("/mpi") != std::string::npos;
    if (entry.path().extension() == ".hpp" && !needs_mpi) headers.push_back(name);
  }
  std::sort(headers.begin(), headers.end());
  for (const std::string& each : headers) {
    benchmark::RegisterBenchmark(each.c_str(), include, each)
        ->UseManualTime()
        ->Iterations(1)
        ->Unit(benchmark::kMillisecond);
  }
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
