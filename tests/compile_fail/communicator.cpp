// section 1: \[ringfold\] not a communicator: it must be copyable; hold the connection by a pointer
// section 2: \[ringfold\] not a communicator: add +using stream = ringfold::host_stream;
// section 3: \[ringfold\] not a communicator: add +int rank\(\) const noexcept;
// section 4: \[ringfold\] not a communicator: add +int size\(\) const noexcept;
// section 5: \[ringfold\] not a communicator: add +my_request post\(ringfold::exchange x, stream s\);
// section 6: \[ringfold\] not a communicator: what post\(\) returns must be a move-only, default-constructible class with +void arrived\(stream\); void reusable\(stream\); bool test\(\);
// section 7: \[ringfold\] not a communicator: add +int rank\(\) const noexcept;
#include <ringfold/core/group.hpp>

struct request {
  request() = default;
  request(request&&) = default;
  request& operator=(request&&) = default;
  void arrived(ringfold::host_stream) {}
#if RINGFOLD_SECTION != 6
  void reusable(ringfold::host_stream) {}
#endif
  bool test() { return true; }
};

struct candidate {
#if RINGFOLD_SECTION == 1
  candidate() = default;
  candidate(candidate&&) = default;
#endif
#if RINGFOLD_SECTION != 2
  using stream = ringfold::host_stream;
#endif
#if RINGFOLD_SECTION == 7
  int rank() const { return 0; }
#elif RINGFOLD_SECTION != 3
  int rank() const noexcept { return 0; }
#endif
#if RINGFOLD_SECTION != 4
  int size() const noexcept { return 1; }
#endif
#if RINGFOLD_SECTION != 5
  request post(ringfold::exchange, ringfold::host_stream) { return {}; }
#endif
};

void use() { ringfold::grid(candidate{}, 1, 1); }
