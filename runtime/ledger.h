// What the host tensors of a rank take, by purpose: counted where LibTorch allocates them, so nothing can be forgotten.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

namespace fmtrain {

enum class Purpose { kOther, kParameters, kGradients, kOptimizer, kActivations, kSnapshot };
inline constexpr std::array<const char*, 6> kPurposeNames{"other", "parameters", "gradients", "optimizer", "activations", "snapshot"};

/// Counts from now on what LibTorch's CPU allocator gives out in this process: 64 bytes and two additions a tensor. A second call
/// changes nothing. Memory of a GPU is not counted.
void start_ledger();

/// While one lives, what its thread allocates is booked under its purpose, whoever frees it when. The innermost counts.
class Booking {
 public:
  explicit Booking(Purpose purpose);
  ~Booking();
  Booking(const Booking&) = delete;
  Booking& operator=(const Booking&) = delete;

 private:
  Purpose outer_;
};

/// Books memory that does not come from the allocator; negative when it goes.
void book(Purpose purpose, int64_t bytes);
/// Books a communicator's memory, which stays to the end of the run, as far as it is this rank's (of `sharers` ranks with the same
/// bytes) and was not counted when it was allocated. Gives it back.
at::Tensor booked(at::Tensor memory, Purpose purpose, int sharers = 1);

/// Bytes.
struct Balance {
  int64_t now = 0, peak = 0;
};
/// In the order of kPurposeNames.
using Ledger = std::array<Balance, kPurposeNames.size()>;
Ledger ledger();

/// The last request of this process that LibTorch's CPU allocator could not serve: bytes, 0 for none so far, and the ledger at that
/// moment, before anything was given back.
struct Shortage {
  int64_t bytes = 0;
  Ledger held{};
};
Shortage shortage();

}  // namespace fmtrain
