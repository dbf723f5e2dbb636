// Draws a trace as a picture of its schedule:  draw_trace TRACE.json PICTURE.svg [TITLE] [RUN]
// One row per rank, time from left to right; blocks coloured by owner, waits grey, exchanges as arrows.
// RUN is the number of the run in the trace, where it holds several.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace {

/// A piece or a wait of a post, or a block; times in microseconds.
struct event {
  std::string name;
  double begin, end;
  int rank, peer, owner, step;
};

/// What one rank sent to another in one post, from the post to the end of the receiver's wait.
struct message {
  int from, to;
  double sent, arrived;
};

struct trace {
  int ranks = 0;
  double begin = 0, end = 0;
  std::vector<event> events;
  std::vector<message> messages;
};

constexpr int most_ranks = 256;

int run_named(std::string_view text) {
  int run = -1;
  auto const [end, failure] = std::from_chars(text.data(), text.data() + text.size(), run);
  if (failure != std::errc() || end != text.data() + text.size() || run < 0) {
    throw std::runtime_error(fmt::format("RUN {}: allowed: whole numbers from 0", text));
  }
  return run;
}

trace read(const std::string& path, int run) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(fmt::format("{}: cannot be read", path));
  trace made;
  try {
    auto const parsed = nlohmann::json::parse(file);
    for (const auto& e : parsed.at("traceEvents")) {
      if (e.at("ph") != "X" || e.at("pid") != run) continue;
      auto const& args = e.at("args");
      double const begin = e.at("ts");
      if (args.contains("present") && !args.at("present").get<bool>()) continue;
      made.events.push_back({e.at("name"), begin, begin + e.at("dur").get<double>(), e.at("tid"),
                             args.value("peer", -1), args.value("owner", -1), args.value("step", -1)});
    }
  } catch (const nlohmann::json::exception& wrong) {
    throw std::runtime_error(fmt::format("{}: not a trace: {}", path, wrong.what()));
  }
  if (made.events.empty()) throw std::runtime_error(fmt::format("{}: no events of run {}", path, run));
  made.begin = made.events.front().begin;
  for (const event& each : made.events) {
    if (each.rank < 0 || each.rank >= most_ranks || each.peer >= most_ranks) {
      throw std::runtime_error(fmt::format("{}: ranks are allowed from 0 to {}", path, most_ranks - 1));
    }
    made.ranks = std::max({made.ranks, each.rank + 1, each.peer + 1});
    made.begin = std::min(made.begin, each.begin);
    made.end = std::max(made.end, each.end);
  }
  return made;
}

/// Pairs the k-th send a -> b with the k-th receive b <- a; pieces of one post become one message.
void find_messages(trace& t) {
  std::map<std::pair<int, int>, std::vector<const event*>> sends, receives;
  std::map<std::pair<int, int>, double> arrived;  // by rank and step
  for (const event& each : t.events) {
    if (each.name == "send" && each.peer != each.rank) sends[{each.rank, each.peer}].push_back(&each);
    if (each.name == "receive" && each.peer != each.rank) receives[{each.peer, each.rank}].push_back(&each);
    if (each.name == "arrived") arrived[{each.rank, each.step}] = each.end;
  }
  for (const auto& [line, sent] : sends) {
    auto const& received = receives[line];
    for (std::size_t k = 0; k < std::min(sent.size(), received.size()); ++k) {
      if (k > 0 && sent[k]->step == sent[k - 1]->step) continue;
      auto const wait = arrived.find({line.second, received[k]->step});
      if (wait != arrived.end()) t.messages.push_back({line.first, line.second, sent[k]->begin, wait->second});
    }
  }
}

constexpr int left = 76, right = 20, top = 64, row_height = 58, bar_height = 30, width = 960;
constexpr const char* palette[] = {"#8fc1ea", "#f4bd7c", "#95d3ab", "#dfafd0",
                                   "#f1e08a", "#a5dde2", "#eda598", "#c3bfb2"};

std::string escaped(std::string_view text) {
  std::string made;
  for (char const c : text) {
    made += c == '<' ? "&lt;" : c == '&' ? "&amp;" : c == '"' ? "&quot;" : std::string(1, c);
  }
  return made;
}

class picture {
 public:
  explicit picture(const trace& of) : t_(of) {}

  std::string draw(std::string_view title) {
    int const height = y_of(t_.ranks) + 62;
    add(R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" font-family="sans-serif" font-size="13">)",
        width, height);
    add(R"(<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">)"
        R"(<path d="M0,0.5 L8,4 L0,7.5 Z" fill="#333"/></marker></defs>)");
    add(R"(<rect width="{}" height="{}" fill="#fff"/>)", width, height);
    add(R"(<text x="{}" y="24" font-size="16" font-weight="bold" fill="#222">{}</text>)", left, escaped(title));
    draw_axis();
    for (int rank = 0; rank < t_.ranks; ++rank) {
      add(R"(<text x="{}" y="{}" text-anchor="end" fill="#222">rank {}</text>)", left - 12, y_of(rank) + 20, rank);
    }
    for (const event& each : t_.events) draw_event(each);
    for (const message& each : t_.messages) draw_message(each);
    draw_legend(height - 14);
    return made_ + "</svg>\n";
  }

 private:
  template <class... A>
  void add(fmt::format_string<A...> text, A&&... values) {
    fmt::format_to(std::back_inserter(made_), text, std::forward<A>(values)...);
    made_ += '\n';
  }

  double x_of(double time) const { return left + (time - t_.begin) / (t_.end - t_.begin) * (width - left - right); }
  static int y_of(int rank) { return top + rank * row_height; }
  static const char* colour_of(int owner) { return palette[static_cast<std::size_t>(owner) % std::size(palette)]; }

  void draw_axis() {
    double const length = t_.end - t_.begin;  // a round distance that gives 4 to 10 ticks
    double tick = 0.001;
    for (int i = 0; length / tick > 10; ++i) tick *= i % 3 == 1 ? 2.5 : 2;
    int const bottom = y_of(t_.ranks) - 6;
    for (int i = 0; i * tick <= length; ++i) {
      double const x = x_of(t_.begin + i * tick);
      add(R"(<line x1="{0:.1f}" y1="{1}" x2="{0:.1f}" y2="{2}" stroke="#e4e4e4"/>)", x, top - 20, bottom);
      add(R"(<text x="{:.1f}" y="{}" text-anchor="middle" font-size="11" fill="#666">{:g} ms</text>)", x, bottom + 14,
          i * tick / 1000);
    }
  }

  void draw_event(const event& e) {
    double const x = x_of(e.begin), wide = x_of(e.end) - x;
    bool const waits = e.name == "arrived" || e.name == "reusable";
    bool const block = e.name == "accumulate", verb = e.name == "prepare" || e.name == "close";
    if (wide < 0.4 || (!waits && !block && !verb)) return;
    add(R"(<rect x="{:.1f}" y="{}" width="{:.1f}" height="{}" fill="{}" stroke="#fff" stroke-width="0.5"/>)", x,
        y_of(e.rank), wide, bar_height,
        block   ? colour_of(e.owner)
        : waits ? "#d4d4d4"
                : "#8a8a8a");
    if (block && wide > 14) {
      add(R"(<text x="{:.1f}" y="{}" text-anchor="middle" fill="#222">{}{}</text>)", x + wide / 2, y_of(e.rank) + 20,
          wide > 60 ? "block " : "", e.owner);
    }
  }

  /// Neighbours are joined across the gap between their rows. The first and the last are neighbours on the far side.
  void draw_message(const message& m) {
    constexpr int gap = row_height - bar_height;
    bool const wraps = t_.ranks > 2 && std::abs(m.from - m.to) == t_.ranks - 1, down = (m.to > m.from) != wraps;
    double const start = x_of(m.sent), end = x_of(m.arrived);
    int const leaves = y_of(m.from) + (down ? bar_height : 0), lands = y_of(m.to) + (down ? 0 : bar_height);
    if (!wraps) return draw_arrow(start, leaves, end, lands, true);
    int const off = down ? gap : -gap;
    double const half = (start + end) / 2;
    draw_arrow(start, leaves, half, leaves + off / 2, false);
    draw_arrow(half, lands - off / 2, end, lands, true);
  }

  void draw_arrow(double x1, int y1, double x2, int y2, bool tip) {
    add(R"(<line x1="{:.1f}" y1="{}" x2="{:.1f}" y2="{}" stroke="#333" stroke-width="1.1"{}{}/>)", x1, y1, x2, y2,
        tip ? " marker-end=\"url(#tip)\"" : "", std::abs(y2 - y1) > row_height ? " stroke-opacity=\"0.45\"" : "");
  }

  void draw_legend(int y) {
    double x = left;
    auto const entry = [&](std::string_view colour, std::string_view text) {
      add(R"(<rect x="{:.0f}" y="{}" width="14" height="12" fill="{}"/>)", x, y - 11, colour);
      add(R"(<text x="{:.0f}" y="{}" font-size="12" fill="#444">{}</text>)", x + 19, y, text);
      x += 40 + 6.6 * static_cast<double>(text.size());
    };
    add(R"(<text x="{:.0f}" y="{}" font-size="12" fill="#444">keys and values of</text>)", x, y);
    x += 124;
    int const shown = std::min(t_.ranks, static_cast<int>(std::size(palette)));
    for (int rank = 0; rank < shown; ++rank) entry(colour_of(rank), fmt::format("rank {}", rank));
    entry("#d4d4d4", "waiting");
    entry("#8a8a8a", "prepare, close");
    draw_arrow(x, y - 9, x + 26, y - 1, true);
    add(R"(<text x="{:.0f}" y="{}" font-size="12" fill="#444">from its post to its arrival</text>)", x + 34, y);
  }

  const trace& t_;
  std::string made_;
};

}  // namespace

int main(int count, char** arguments) {
  try {
    if (count < 3 || count > 5) throw std::runtime_error("usage: draw_trace TRACE.json PICTURE.svg [TITLE] [RUN]");
    trace t = read(arguments[1], count > 4 ? run_named(arguments[4]) : 0);
    find_messages(t);
    std::ofstream file(arguments[2]);
    file << picture(t).draw(count > 3 ? arguments[3] : "");
    if (!file.flush()) throw std::runtime_error(fmt::format("{}: cannot be written", arguments[2]));
    return 0;
  } catch (const std::exception& wrong) {
    fmt::print(stderr, "draw_trace: {}\n", wrong.what());
    return 2;
  }
}
