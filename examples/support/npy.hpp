#pragma once

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <ringfold/core/dtype.hpp>
#include <ringfold/core/errors.hpp>
#include <ringfold/core/sizes.hpp>

/// \file
/// Reads and writes NumPy's .npy files: versions 1.0 to 3.0, little-endian f2, f4 and f8, C order.
/// Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

namespace ringfold::examples {

static_assert(std::endian::native == std::endian::little, "npy.hpp copies little-endian elements as they are");

/// A .npy file that cannot be read or written; the text names the file, what was found and what is allowed.
struct npy_error : usage_error {
  using usage_error::usage_error;
};

/// An array that owns its elements, in C order (the last axis is dense).
struct npy_array {
  dtype type;  ///< f16, f32 or f64
  std::vector<extent> shape;
  std::vector<std::byte> bytes;

  /// The elements; throws npy_error where T is not the array's dtype.
  template <class T>
  std::span<const T> elements() const {
    if (type != dtype_of<T>) {
      throw npy_error(say("elements: %d-byte type asked of a %d-byte array; allowed: the type that the array holds",
                          int{sizeof(T)}, static_cast<int>(type.bytes())));
    }
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
};

namespace detail {

inline constexpr std::string_view npy_magic{"\x93NUMPY", 6};
inline constexpr const char* npy_dtypes = "'<f2', '<f4', '<f8'";
inline constexpr std::size_t npy_longest_header = 65535;  // numpy itself refuses more than 10000 by default

/// The end of a path, or of what a file holds, as it may stand in a one-line message; a path may be UTF-8.
inline std::string printable(std::string_view text, std::size_t most, bool path = false) {
  std::string shown(text.size() > most ? "..." : "");
  shown += text.substr(text.size() > most ? text.size() - most : 0);
  for (char& c : shown) {
    unsigned char const code = static_cast<unsigned char>(c);
    if (code < 0x20 || code == 0x7f || (code > 0x7f && !path)) c = '?';
  }
  return shown;
}

[[noreturn]] inline void refuse_npy(std::string_view file, const std::string& found, const char* allowed) {
  throw npy_error(say("%s: %s; allowed: %s", printable(file, 200, true).c_str(), found.c_str(), allowed));
}

/// The name of a supported dtype in a header, or null.
constexpr const char* npy_name(dtype type) {
  if (type == dtype_of<f16>) return "<f2";
  if (type == dtype_of<float>) return "<f4";
  if (type == dtype_of<double>) return "<f8";
  return nullptr;
}

/// The bytes of all elements. An empty axis does not excuse the others from fitting.
inline extent npy_bytes(std::string_view file, dtype type, std::span<const extent> shape) {
  extent total = type.bytes();
  bool empty = false;
  for (extent const n : shape) {
    if (n < 0) refuse_npy(file, "shape has the axis " + std::to_string(n), "axes of 0 or more");
    if (__builtin_mul_overflow(total, n == 0 ? 1 : n, &total)) {
      refuse_npy(file, "shape has more bytes than 64 bits count", "at most 2^63 - 1 bytes");
    }
    empty = empty || n == 0;
  }
  return empty ? 0 : total;
}

/// Reads the header's Python dictionary: 'descr', 'fortran_order' and 'shape', each once, in any order.
class npy_header_parser {
 public:
  npy_header_parser(std::string_view file, std::string_view text) : file_(file), text_(text), rest_(text) {}

  void parse_into(npy_array& array) {
    bool descr = false, order = false, shape = false;
    expect('{');
    while (!accept('}')) {
      std::string_view const key = quoted();
      expect(':');
      if (key == "descr" && !std::exchange(descr, true)) {
        array.type = parse_dtype();
      } else if (key == "fortran_order" && !std::exchange(order, true)) {
        parse_order();
      } else if (key == "shape" && !std::exchange(shape, true)) {
        array.shape = parse_shape();
      } else {
        malformed();
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (!descr || !order || !shape || !rest_.empty()) malformed();
  }

 private:
  [[noreturn]] void malformed() const {
    std::size_t const end = text_.find_last_not_of(" \n");
    refuse_npy(file_, "header is \"" + printable(text_.substr(0, end + 1), 120) + "\"",
               "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } with these three keys");
  }

  void skip_space() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size())); }

  bool accept(std::string_view word) {
    skip_space();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  bool accept(char c) { return accept(std::string_view(&c, 1)); }
  void expect(char c) {
    if (!accept(c)) malformed();
  }

  std::string_view quoted() {
    char const quote = accept('\'') ? '\'' : '"';
    if (quote == '"') expect('"');
    std::size_t const end = rest_.find(quote);
    if (end == std::string_view::npos) malformed();
    std::string_view const word = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return word;
  }

  dtype parse_dtype() {
    if (accept('[')) refuse_npy(file_, "dtype is structured", npy_dtypes);
    std::string_view const name = quoted();
    for (dtype const type : {dtype_of<f16>, dtype_of<float>, dtype_of<double>}) {
      if (name == npy_name(type)) return type;
    }
    refuse_npy(file_,
               "dtype is " + std::string(name.starts_with('>') ? "big-endian " : "") + "'" + printable(name, 40) + "'",
               npy_dtypes);
  }

  void parse_order() {
    if (accept("False")) return;
    if (!accept("True")) malformed();
    refuse_npy(file_, "fortran_order is True", "C order (fortran_order False)");
  }

  std::vector<extent> parse_shape() {
    std::vector<extent> shape;
    bool comma = true;
    expect('(');
    while (!accept(')')) {
      skip_space();
      if (!comma || rest_.empty() || rest_[0] < '0' || rest_[0] > '9') malformed();
      auto const [end, failure] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), shape.emplace_back());
      if (failure != std::errc()) refuse_npy(file_, "shape has an axis over 64 bits", "axes of at most 2^63 - 1");
      rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
      comma = accept(',');
    }
    if (shape.size() == 1 && !comma) malformed();  // in Python (3) is a number, (3,) a tuple
    return shape;
  }

  std::string_view file_, text_, rest_;
};

}  // namespace detail

/// Reads a whole .npy stream that can seek; `name` stands for it in errors.
/// Throws npy_error on anything but one valid array; allocates no more than the stream holds.
inline npy_array read_npy(std::istream& in, std::string_view name) {
  std::streamoff const end = in.seekg(0, std::ios::end).tellg();
  if (end < 0 || !in.seekg(0)) detail::refuse_npy(name, "cannot be measured", "a regular .npy file");
  std::size_t left = static_cast<std::size_t>(end);
  auto const take = [&](std::size_t count, const char* part) {
    std::string text(std::min(count, left), '\0');
    if (!in.read(text.data(), static_cast<std::streamsize>(text.size()))) {
      detail::refuse_npy(name, "cannot be read", "a regular .npy file");
    }
    if (text.size() < count) {
      detail::refuse_npy(
          name,
          "ends after " + std::to_string(text.size()) + " of the " + std::to_string(count) + " bytes of its " + part,
          "a complete .npy file");
    }
    left -= count;
    return text;
  };
  auto const byte = [](std::string_view text, std::size_t i) { return unsigned{static_cast<unsigned char>(text[i])}; };

  if (std::string const magic = take(detail::npy_magic.size(), "magic"); magic != detail::npy_magic) {
    detail::refuse_npy(name, "starts with '" + detail::printable(magic, 40) + "'", "a .npy file ('\\x93NUMPY')");
  }
  std::string const version = take(2, "version");
  if (byte(version, 0) < 1 || byte(version, 0) > 3 || byte(version, 1) != 0) {
    detail::refuse_npy(name, "version is " + std::to_string(byte(version, 0)) + "." + std::to_string(byte(version, 1)),
                       "1.0, 2.0, 3.0");
  }
  std::string const size = take(byte(version, 0) == 1 ? 2 : 4, "header size");
  std::size_t length = 0;
  for (std::size_t i = size.size(); i-- > 0;) length = length << 8 | byte(size, i);
  if (length > detail::npy_longest_header) {
    detail::refuse_npy(name, "header has " + std::to_string(length) + " bytes", "at most 65535");
  }
  npy_array array;
  detail::npy_header_parser(name, take(length, "header")).parse_into(array);
  std::size_t const bytes = static_cast<std::size_t>(detail::npy_bytes(name, array.type, array.shape));
  if (left != bytes) {
    detail::refuse_npy(name, std::to_string(left) + " bytes of data",
                       (std::to_string(bytes) + ", as its shape and dtype say").c_str());
  }
  array.bytes.resize(bytes);
  if (!in.read(reinterpret_cast<char*>(array.bytes.data()), static_cast<std::streamsize>(bytes))) {
    detail::refuse_npy(name, "cannot be read", "a regular .npy file");
  }
  return array;
}

/// Reads a .npy file; throws npy_error on anything but one valid array.
inline npy_array read_npy(const std::string& file) {
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    detail::refuse_npy(file, std::string("cannot be opened (") + std::strerror(errno) + ")", "a readable .npy file");
  }
  return read_npy(in, file);
}

/// Writes a .npy file, version 1.0; throws npy_error before the file is touched where shape, dtype and bytes disagree.
inline void write_npy(const std::string& file, const npy_array& array) {
  const char* const name = detail::npy_name(array.type);
  if (name == nullptr) {
    detail::refuse_npy(
        file, "dtype of code " + std::to_string(array.type.code) + " and " + std::to_string(array.type.bits) + " bits",
        detail::npy_dtypes);
  }
  extent const bytes = detail::npy_bytes(file, array.type, array.shape);
  if (static_cast<std::size_t>(bytes) != array.bytes.size()) {
    detail::refuse_npy(file, std::to_string(array.bytes.size()) + " bytes of data",
                       (std::to_string(bytes) + ", as its shape and dtype say").c_str());
  }
  std::string header = std::string("{'descr': '") + name + "', 'fortran_order': False, 'shape': (";
  for (extent const n : array.shape) header += std::to_string(n) + (array.shape.size() == 1 ? "," : ", ");
  if (array.shape.size() > 1) header.resize(header.size() - 2);
  header += "), }";
  std::size_t const prefix = detail::npy_magic.size() + 4;
  header.append(63 - (prefix + header.size()) % 64, ' ');  // so that elements start at a multiple of 64
  header += '\n';
  if (header.size() > detail::npy_longest_header) {
    detail::refuse_npy(file, "header has " + std::to_string(header.size()) + " bytes", "at most 65535");
  }
  errno = 0;
  std::ofstream out(file, std::ios::binary);
  out << detail::npy_magic << '\1' << '\0' << static_cast<char>(header.size() & 0xff)
      << static_cast<char>(header.size() >> 8) << header;
  out.write(reinterpret_cast<const char*>(array.bytes.data()), static_cast<std::streamsize>(array.bytes.size()));
  out.close();
  if (!out) {
    detail::refuse_npy(file, std::string("cannot be written (") + std::strerror(errno) + ")",
                       "a place that can be written, with room");
  }
}

}  // namespace ringfold::examples
