// Numbers and text as YAML scalars, read strictly and written so that every YAML reader takes them for what they are.
#pragma once
#include <cstdint>
#include <string>

namespace fmtrain {

/// Why a text is not a number of the wanted kind.
enum class NumberFault { kNone, kNotANumber, kLeadingZero, kNotFinite, kTooLarge };

/// Decimal digits with an optional minus.
NumberFault parse_integer(const std::string& text, int64_t* value);
/// Decimal, as 0.1, 1e3, 2.0e-4. NaN and infinities are refused, what is too small for a double is 0.
NumberFault parse_double(const std::string& text, double* value);

/// True when some YAML reader takes the plain scalar for something else than text: a number, a truth value, nothing.
bool looks_typed(const std::string& text);

/// Text as a YAML scalar, quoted where it must be.
std::string yaml_text(const std::string& text);
/// Shortest decimal that reads back as the same double; large and small ones as 2.0e-4, which YAML 1.1 and 1.2 take for
/// numbers.
std::string yaml_number(double value);

}  // namespace fmtrain
