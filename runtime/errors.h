// What can go wrong because of the user, the data, or the storage; broken invariants use TORCH_CHECK instead.
// Every message is one plain line that says what to do. Exit codes: docs/training.md.
#pragma once
#include <stdexcept>
#include <string>

namespace fmtrain {

enum class ExitCode : int {
  kOk = 0, kInternal = 1, kConfig = 2, kData = 3, kNoCheckpoint = 4, kStorage = 5, kNumeric = 6, kPeerDied = 7, kHang = 8,
  kLocked = 9, kDrift = 10, kInsufficientData = 11, kRequeue = 75, kDoNotRequeue = 93
};

/// A fault with the exit code it ends the program with. `what()` is the line shown to the user.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }
 private:
  ExitCode code_;
};

/// Usage, config, or model directory (exit 2).
struct ConfigError : Error { explicit ConfigError(const std::string& m) : Error(ExitCode::kConfig, m) {} };
/// Input data, raw or prepared (exit 3). Message starts with "file:line: " or "file: ".
struct DataError : Error { explicit DataError(const std::string& m) : Error(ExitCode::kData, m) {} };
/// A checkpoint that cannot be used (exit 4).
struct CheckpointError : Error { explicit CheckpointError(const std::string& m) : Error(ExitCode::kNoCheckpoint, m) {} };
/// Disk full, I/O error, permission (exit 5).
struct StorageError : Error { explicit StorageError(const std::string& m) : Error(ExitCode::kStorage, m) {} };
/// Three non-finite steps in a row (exit 6).
struct NumericError : Error { explicit NumericError(const std::string& m) : Error(ExitCode::kNumeric, m) {} };

/// At most 200 bytes of a hostile text for a message: control characters and invalid bytes as \xNN.
std::string quoted(const std::string& text);
inline std::string quoted(std::string& text) { return quoted(static_cast<const std::string&>(text)); }  // not std::quoted

}  // namespace fmtrain
