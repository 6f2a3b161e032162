#include "runtime/preflight/links.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "runtime/percentile.h"

namespace fmtrain {
namespace {

constexpr double kSkew = 1.0;  ///< seconds

std::map<int, double> best_rates(const std::vector<PairFigures>& pairs) {
  std::map<int, double> best;
  for (const auto& p : pairs)
    for (const int rank : {p.a, p.b}) best[rank] = std::max(best[rank], p.rate);
  return best;
}

double usual_rate(const std::vector<PairFigures>& pairs) {
  std::vector<double> rates;
  for (const auto& [rank, rate] : best_rates(pairs)) rates.push_back(rate);
  std::sort(rates.begin(), rates.end());
  return rates.empty() ? 0 : percentile(rates, 0.5);
}

/// Hosts all of whose pairs are slow, where some host has one that is not.
std::set<int> slow_hosts(const std::vector<PairFigures>& pairs, const std::vector<PairFigures>& slow) {
  std::map<int, int64_t> of_all, of_slow;
  for (const auto& p : pairs) ++of_all[p.a], ++of_all[p.b];
  for (const auto& p : slow) ++of_slow[p.a], ++of_slow[p.b];
  std::set<int> hosts;
  for (const auto& [rank, n] : of_slow)
    if (n == of_all[rank] && n > 1) hosts.insert(rank);
  return hosts.size() == of_all.size() ? std::set<int>{} : hosts;
}

Json pair_json(const PairFigures& p, const HostNames& hosts) {
  return {{"a", hosts.at(p.a)},
          {"b", hosts.at(p.b)},
          {"gb_per_second", p.rate},
          {"latency_us", 1e6 * p.latency},
          {"clock_ahead_s", p.ahead}};
}

}  // namespace

std::vector<std::vector<std::pair<int, int>>> rounds_of(int count) {
  std::vector<std::vector<std::pair<int, int>>> rounds;
  const int seats = count + count % 2;  // of an odd number one has nobody to meet
  for (int round = 0; round + 1 < seats; ++round) {
    auto& pairs = rounds.emplace_back();
    for (int i = 0; i < seats / 2; ++i) {
      const auto at = [&](int seat) { return seat == 0 ? 0 : 1 + (seat - 1 + round) % (seats - 1); };
      const auto [a, b] = std::minmax({at(i), at(seats - 1 - i)});
      if (b < count) pairs.emplace_back(a, b);
    }
  }
  return rounds;
}

std::vector<PairFigures> slow_pairs(const std::vector<PairFigures>& pairs, double expected) {
  const double least = pairs.size() >= 3 ? usual_rate(pairs) / 2 : 0;
  std::vector<PairFigures> slow;
  std::copy_if(pairs.begin(), pairs.end(), std::back_inserter(slow),
               [&](const auto& p) { return p.rate < least || p.rate < expected; });
  std::sort(slow.begin(), slow.end(), [](const auto& x, const auto& y) { return x.rate < y.rate; });
  return slow;
}

Row judge_pairs(const std::vector<PairFigures>& pairs, const HostNames& hosts, double expected, int64_t all) {
  Row row{"hosts", Status::kOk, "one host: no network", ""};
  row.values = {{"pairs", all}, {"measured", pairs.size()}, {"expected_gb_per_second", expected}, {"figures", Json::array()}};
  if (pairs.empty()) return row;
  double least = pairs[0].rate, latency = 0;
  for (const auto& p : pairs) {
    least = std::min(least, p.rate);
    latency = std::max(latency, p.latency);
    row.values["figures"].push_back(pair_json(p, hosts));
  }
  const auto measured =
      static_cast<int64_t>(pairs.size()) == all ? std::to_string(all) : fmt::format("{} of {}", pairs.size(), all);
  row.found = fmt::format("{} pairs of hosts: {:.3g} GB/s is usual, {:.3g} the least; at most {:.0f} us one way", measured,
                          usual_rate(pairs), least, 1e6 * latency);
  const auto slow = slow_pairs(pairs, expected);
  row.values["slow"] = Json::array();
  row.values["slow_hosts"] = Json::array();
  if (slow.empty()) return row;
  row.status = Status::kWarning;
  std::string names;
  for (const int rank : slow_hosts(pairs, slow)) {
    row.values["slow_hosts"].push_back(hosts.at(rank));
    names += (names.empty() ? "" : ", ") + hosts.at(rank);
  }
  for (const auto& p : slow) {
    row.values["slow"].push_back({hosts.at(p.a), hosts.at(p.b)});
    row.details.push_back(
        fmt::format("{} - {}: {:.3g} GB/s, {:.0f} us", hosts.at(p.a), hosts.at(p.b), p.rate, 1e6 * p.latency));
  }
  row.found += names.empty() ? fmt::format("; {} slow", slow.size()) : "; slow with everyone: " + names;
  row.fix = names.empty() ? "see which network MPI uses (OMPI_MCA_btl_tcp_if_include), or leave out one host of the pair"
                          : "leave out " + names +
                                " (srun --exclude=), or see its link and which network MPI uses (OMPI_MCA_btl_tcp_if_include)";
  return row;
}

Row judge_clocks(const std::vector<PairFigures>& pairs, const HostNames& hosts) {
  Row row{"clocks", Status::kOk, "one host, one clock", ""};
  if (pairs.empty()) return row;
  const auto& worst = *std::max_element(pairs.begin(), pairs.end(),
                                        [](const auto& x, const auto& y) { return std::abs(x.ahead) < std::abs(y.ahead); });
  row.found = fmt::format("at most {:.3g} ms apart, known to {:.2g} ms", 1e3 * std::abs(worst.ahead), 1e3 * worst.latency);
  row.values = {{"most_apart_s", std::abs(worst.ahead)}, {"known_to_s", worst.latency}};
  for (const auto& p : pairs) {
    if (std::abs(p.ahead) - p.latency <= kSkew) continue;
    row.status = Status::kWarning;
    row.fix = "synchronise the clocks (chrony, ntpd): the lease of a run directory and time limits go by them";
    row.details.push_back(fmt::format("{} is {:.1f} s {} {}", hosts.at(p.b), std::abs(p.ahead),
                                      p.ahead > 0 ? "ahead of" : "behind", hosts.at(p.a)));
  }
  return row;
}

Row judge_collectives(const std::string& name, const CollectiveFigures& figures, int ranks, double expected) {
  Row row{name, Status::kOk, "", "", ExitCode::kInternal};
  row.values = {{"wrong", figures.wrong}, {"bytes", figures.bytes}, {"bus_gb_per_second", figures.rate}};
  if (figures.wrong > 0) {
    row.status = Status::kFailed;
    row.found = fmt::format("{} elements of a sum over {} ranks are wrong", figures.wrong, ranks);
    row.fix = "leave out hosts until it is right, and report this: memory or the network changes bits";
    return row;
  }
  row.found = ranks == 1 ? "one rank"
                         : fmt::format("sum exact; all-reduce of {} KiB at {:.3g} GB/s", figures.bytes >> 10, figures.rate);
  if (ranks == 1 || figures.rate >= expected) return row;
  row.status = Status::kWarning;
  row.fix = fmt::format("{:.3g} GB/s were expected: see the placement above and which network is used", expected);
  return row;
}

}  // namespace fmtrain
