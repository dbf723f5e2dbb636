#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iterator>
#include <numeric>
#include <random>
#include <sstream>

#include "../../examples/support/npy.hpp"
#include "support/program.hpp"

namespace {

using namespace ringfold::examples;
using programs::temporary_directory;
using ringfold::bf16;
using ringfold::dtype;
using ringfold::dtype_of;
using ringfold::extent;
using ringfold::f16;

std::string dictionary(const std::string& descr, const std::string& order, const std::string& shape) {
  return "{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }";
}

/// A file as bytes: magic, version, header size, header, data; independent of write_npy.
std::string file_of(const std::string& header, std::size_t data_bytes, int major = 1) {
  std::string file = std::string("\x93NUMPY") + static_cast<char>(major) + '\0';
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i) file += static_cast<char>(header.size() >> 8 * i & 0xff);
  return file + header + std::string(data_bytes, '\x3c');
}

npy_array parse(const std::string& bytes) {
  std::istringstream in(bytes);
  return read_npy(in, "x.npy");
}

std::string message(const std::string& bytes) {
  try {
    parse(bytes);
  } catch (const npy_error& error) {
    return error.what();
  }
  return "no error";
}

template <class T>
npy_array counted(std::vector<extent> shape) {
  extent const size = std::accumulate(shape.begin(), shape.end(), extent{1}, std::multiplies<>());
  npy_array array{dtype_of<T>, std::move(shape), {}};
  for (extent i = 0; i < size; ++i) {
    T const value(static_cast<float>(i) - 1.5f);
    auto const* const bytes = reinterpret_cast<const std::byte*>(&value);
    array.bytes.insert(array.bytes.end(), bytes, bytes + sizeof value);
  }
  return array;
}

}  // namespace

TEST_CASE_TEMPLATE("npy: what is written is read again", T, f16, float, double) {
  temporary_directory const directory;
  for (const std::vector<extent>& shape : std::vector<std::vector<extent>>{
           {}, {0}, {1}, {3}, {2, 3}, {2, 0, 3}, {1, 5, 3, 2}, std::vector<extent>(200, 1)}) {
    npy_array const written = counted<T>(shape);
    write_npy(directory / "a.npy", written);
    CHECK(std::filesystem::file_size(directory / "a.npy") % 64 == written.bytes.size() % 64);
    npy_array const read = read_npy(directory / "a.npy");
    CHECK(read.type == written.type);
    CHECK(read.shape == shape);
    CHECK(read.bytes == written.bytes);
    CHECK(read.elements<T>().size() * sizeof(T) == written.bytes.size());
    if (!read.elements<T>().empty()) CHECK(static_cast<float>(read.elements<T>()[0]) == -1.5f);
  }
}

TEST_CASE("npy: the writer's bytes are numpy's") {
  temporary_directory const directory;
  write_npy(directory / "a.npy", counted<double>({3}));
  std::ifstream in(directory / "a.npy", std::ios::binary);
  std::string const bytes(std::istreambuf_iterator<char>(in), {});
  std::string const header = dictionary("'<f8'", "False", "(3,)");
  CHECK(bytes.substr(0, 128) == file_of(header + std::string(117 - header.size(), ' ') + "\n", 0));
}

TEST_CASE("npy: versions, key order, quotes and spaces are read as Python reads them") {
  std::string const plain = dictionary("'<f4'", "False", "(2, 3)");
  for (int const major : {1, 2, 3}) {
    npy_array const read = parse(file_of(plain + "   \n", 24, major));
    CHECK(read.type == dtype_of<float>);
    CHECK(read.shape == std::vector<extent>{2, 3});
    CHECK(read.bytes.size() == 24);
  }
  CHECK(parse(file_of("{\"shape\":(2,3,),'fortran_order':False,'descr':'<f2'}", 12)).type == dtype_of<f16>);
  CHECK(parse(file_of(dictionary("'<f8'", "False", "()"), 8)).shape.empty());
  CHECK(parse(file_of(dictionary("'<f8'", "False", "(0,)"), 0)).shape == std::vector<extent>{0});
}

TEST_CASE("npy: an unfit file gives one line with its name, what was found and what is allowed") {
  std::string const good = file_of(dictionary("'<f4'", "False", "(2, 3)"), 24);
  struct bad_file {
    std::string bytes, found, allowed;
  };
  std::string const dtypes = "'<f2', '<f4', '<f8'", keys = "with these three keys";
  auto const with_dtype = [](const char* name) { return file_of(dictionary(name, "False", "(2, 3)"), 24); };
  auto const with_shape = [](const char* shape) { return file_of(dictionary("'<f4'", "False", shape), 24); };
  auto const with_header = [](const char* header) { return file_of(header, 24); };
  const std::vector<bad_file> files = {
      {"", "ends after 0 of the 6 bytes of its magic", "a complete .npy file"},
      {good.substr(0, 7), "ends after 1 of the 2 bytes of its version", "a complete .npy file"},
      {good.substr(0, 9), "ends after 1 of the 2 bytes of its header size", "a complete .npy file"},
      {good.substr(0, 30), "ends after 20 of the 59 bytes of its header", "a complete .npy file"},
      {good.substr(0, good.size() - 1), "23 bytes of data", "24, as its shape and dtype say"},
      {good + "\n", "25 bytes of data", "24, as its shape and dtype say"},
      {"PK\x03\x04zip archive", "starts with 'PK??zi'", "\\x93NUMPY"},
      {file_of(dictionary("'<f4'", "False", "(2, 3)"), 24, 4), "version is 4.0", "1.0, 2.0, 3.0"},
      {file_of(dictionary("'<f4'", "False", "(2, 3)"), 24, 0), "version is 0.0", "1.0, 2.0, 3.0"},
      {good.substr(0, 7) + '\1' + good.substr(8), "version is 1.1", "1.0, 2.0, 3.0"},
      {file_of(std::string(65536, ' '), 0, 2), "header has 65536 bytes", "at most 65535"},
      {std::string("\x93NUMPY\x02\0\xff\xff\xff\xff", 12), "header has 4294967295 bytes", "at most 65535"},
      {file_of(dictionary("'<f4'", "True", "(2, 3)"), 24), "fortran_order is True", "C order"},
      {with_dtype("'>f4'"), "dtype is big-endian '>f4'", dtypes},
      {with_dtype("'<i4'"), "dtype is '<i4'", dtypes},
      {with_dtype("'<f16'"), "dtype is '<f16'", dtypes},
      {with_dtype("'|V2'"), "dtype is '|V2'", dtypes},
      {with_dtype("'\x1b[2J'"), "dtype is '?[2J'", dtypes},
      {with_dtype("[('a', '<f4')]"), "dtype is structured", dtypes},
      {with_shape("(4611686018427387904, 2)"), "more bytes than 64 bits count", "at most 2^63 - 1 bytes"},
      {with_shape("(0, 4611686018427387904, 2)"), "more bytes than 64 bits count", "at most 2^63 - 1 bytes"},
      {with_shape("(2305843009213693952,)"), "more bytes than 64 bits count", "at most 2^63 - 1 bytes"},
      {with_shape("(99999999999999999999,)"), "an axis over 64 bits", "at most 2^63 - 1"},
      {with_shape("(2305843009213693951,)"), "24 bytes of data", "9223372036854775804, as its shape"},
      {with_shape("(6)"), "'shape': (6)", keys},
      {with_shape("(-2, -3)"), "'shape': (-2, -3)", keys},
      {with_shape("(2 3)"), "'shape': (2 3)", keys},
      {with_shape("(2,, 3)"), "'shape': (2,, 3)", keys},
      {with_shape("(2.0, 3)"), "'shape': (2.0, 3)", keys},
      {with_shape("[2, 3]"), "'shape': [2, 3]", keys},
      {with_header(""), "header is \"\"", keys},
      {with_header("{}"), "header is \"{}\"", keys},
      {with_header("{'descr': '<f4'"), "header is \"{'descr': '<f4'\"", keys},
      {with_header("{'descr': '<f4"), "header is \"{'descr': '<f4\"", keys},
      {with_header("{'descr': '<f4', 'fortran_order': False}"), "False}\"", keys},
      {with_header("{'fortran_order': False, 'shape': (6,)}"), "(6,)}\"", keys},
      {with_header("{'descr': '<f4', 'shape': (6,)}"), "(6,)}\"", keys},
      {with_header("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}"), "(6,)}\"", keys},
      {with_header("{'descr': '<f4', 'fortran_order': 0, 'shape': (6,)}"), "(6,)}\"", keys},
      {with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'more': 1}"), "1}\"", keys},
      {with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} + 1"), "+ 1\"", keys},
  };
  CHECK(message(good) == "no error");
  for (const bad_file& file : files) {
    std::string const text = message(file.bytes);
    CAPTURE(text);
    CAPTURE(file.found);
    CHECK(text.starts_with("x.npy: "));
    CHECK(text.find(file.found) != std::string::npos);
    CHECK(text.find("; allowed: ") != std::string::npos);
    CHECK(text.substr(text.find("; allowed: ")).find(file.allowed) != std::string::npos);
    CHECK(text.find('\n') == std::string::npos);
  }
}

TEST_CASE("npy: what is no regular file is refused") {
  temporary_directory const directory;
  CHECK_THROWS_WITH_AS(
      read_npy(directory / "none.npy"),
      (directory / "none.npy: cannot be opened (No such file or directory); allowed: a readable .npy file").c_str(),
      npy_error);
  CHECK_THROWS_AS(read_npy(directory / "."), npy_error);
  CHECK_THROWS_AS(read_npy(directory / "none.npy"), ringfold::usage_error);
}

TEST_CASE("npy: the writer refuses what it cannot write, and touches no file") {
  temporary_directory const directory;
  std::string const file = directory / "a.npy";
  npy_array array = counted<float>({2, 3});
  array.bytes.pop_back();
  CHECK_THROWS_WITH_AS(write_npy(file, array),
                       (file + ": 23 bytes of data; allowed: 24, as its shape and dtype say").c_str(), npy_error);
  array = counted<float>({2, 3});
  array.shape = {-2, -3};
  CHECK_THROWS_WITH_AS(write_npy(file, array), (file + ": shape has the axis -2; allowed: axes of 0 or more").c_str(),
                       npy_error);
  array = counted<bf16>({2});
  CHECK_THROWS_WITH_AS(write_npy(file, array),
                       (file + ": dtype of code 4 and 16 bits; allowed: '<f2', '<f4', '<f8'").c_str(), npy_error);
  array = counted<float>(std::vector<extent>(30000, 1));
  CHECK_THROWS_AS(write_npy(file, array), npy_error);
  CHECK_FALSE(std::filesystem::exists(file));

  array = counted<float>({2, 3});
  CHECK_THROWS_WITH_AS(write_npy(directory / "none" + "/a.npy", array), doctest::Contains("No such file or directory"),
                       npy_error);
  if (std::filesystem::exists("/dev/full")) {
    CHECK_THROWS_WITH_AS(write_npy("/dev/full", array), doctest::Contains("No space left"), npy_error);
  }
}

TEST_CASE("npy: elements are given only as what they are") {
  npy_array const array = counted<float>({2});
  CHECK(array.elements<float>().size() == 2);
  CHECK_THROWS_AS(array.elements<double>(), npy_error);
  CHECK_THROWS_AS(counted<f16>({2}).elements<bf16>(), npy_error);
}

TEST_CASE("npy: a damaged header is read or refused, never more") {
  for (int const major : {1, 2}) {
    std::string const good = file_of(dictionary("'<f4'", "False", "(2, 3)") + "  \n", 24, major);
    std::size_t const header_end = good.size() - 24;
    std::size_t accepted = 0;
    auto const read_or_refuse = [&](const std::string& bytes) {
      try {
        npy_array const array = parse(bytes);
        extent size = array.type.bytes();
        for (extent const n : array.shape) size *= n;
        CHECK(static_cast<std::size_t>(size) == array.bytes.size());
        ++accepted;
      } catch (const npy_error& error) {
        CHECK(std::strchr(error.what(), '\n') == nullptr);
      }
    };
    for (std::size_t length = 0; length < good.size(); ++length) {
      CHECK_THROWS_AS(parse(good.substr(0, length)), npy_error);
    }
    for (std::size_t i = 0; i < header_end; ++i) {
      for (int value = 0; value < 256; ++value) {
        std::string bytes = good;
        bytes[i] = static_cast<char>(value);
        read_or_refuse(bytes);
      }
    }
    CHECK(accepted >= header_end);  // at least every byte replaced by itself
    std::mt19937 random(7);
    for (int round = 0; round < 20000; ++round) {
      std::string bytes = good;
      for (unsigned n = random() % 4; n-- > 0;) bytes[random() % header_end] = good[random() % header_end];
      if (random() % 2) bytes.erase(random() % header_end, random() % 3);
      if (random() % 2) bytes.insert(random() % header_end, 1, "(){}[]',:-0918 \n"[random() % 16]);
      read_or_refuse(bytes);
    }
  }
}

#ifdef RINGFOLD_SOURCE_DIR
TEST_CASE("npy: the bundled output is the softmax attention of the bundled queries, keys and values") {
  constexpr extent tokens = 512, heads = 12, dim = 32;
  std::string const folder = RINGFOLD_SOURCE_DIR "/examples/data/";
  for (const char* const layer : {"layer0_", "layer2_", "layer5_"}) {
    auto const bundled = [&](const char* name, dtype type) {
      npy_array array = read_npy(folder + layer + name + ".npy");
      CHECK(array.type == type);
      REQUIRE(array.shape == std::vector<extent>{1, tokens, heads, dim});
      return array;
    };
    npy_array const files[] = {bundled("q", dtype_of<f16>), bundled("k", dtype_of<f16>), bundled("v", dtype_of<f16>),
                               bundled("o", dtype_of<float>)};
    auto const input = [&](int file, extent token, extent head, extent d) {
      return double{files[file].elements<f16>()[static_cast<std::size_t>((token * heads + head) * dim + d)]};
    };
    for (extent query = 0; query < tokens; query += 73) {
      for (extent head = 0; head < heads; ++head) {
        std::vector<double> sum(dim);
        double total = 0;
        for (extent key = 0; key < tokens; ++key) {
          double score = 0;
          for (extent d = 0; d < dim; ++d) score += input(0, query, head, d) * input(1, key, head, d);
          double const weight = std::exp(score / std::sqrt(double{dim}));  // scores stay below 75: no overflow
          total += weight;
          for (extent d = 0; d < dim; ++d) sum[static_cast<std::size_t>(d)] += weight * input(2, key, head, d);
        }
        for (extent d = 0; d < dim; ++d) {
          double const expected = sum[static_cast<std::size_t>(d)] / total;
          double const found = files[3].elements<float>()[static_cast<std::size_t>((query * heads + head) * dim + d)];
          // Stored as float: half a unit in the last place, and the rounding of two sums in double.
          CHECK(std::abs(found - expected) <= std::abs(expected) * 0x1p-24 + 1e-12);
        }
      }
    }
  }
}
#endif
