#include "runtime/preflight/places.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

namespace fmtrain {
namespace {

constexpr const char* kBind = "mpirun --map-by slot:PE={0} --bind-to core, or srun --cpus-per-task={0} --cpu-bind=cores";

std::vector<std::vector<RankPlace>> by_host(const std::vector<RankPlace>& places) {
  std::vector<std::vector<RankPlace>> groups;
  for (const auto& host : hosts_of(places)) {
    auto& group = groups.emplace_back();
    std::copy_if(places.begin(), places.end(), std::back_inserter(group), [&](const RankPlace& p) { return p.host == host; });
  }
  return groups;
}

/// Cores that the ranks of one host may use together; empty: one of them does not know.
std::set<int> cores_of(const std::vector<RankPlace>& group) {
  std::set<int> all;
  for (const auto& p : group) {
    if (p.cores.empty()) return {};
    all.insert(p.cores.begin(), p.cores.end());
  }
  return all;
}

int most_threads(const std::vector<RankPlace>& group) {
  return std::max_element(group.begin(), group.end(), [](const auto& a, const auto& b) { return a.threads < b.threads; })
      ->threads;
}

/// Two ranks of one host that have the same single core.
void find_shared_core(const std::vector<RankPlace>& group, Row& row) {
  std::map<int, std::vector<int>> alone;
  for (const auto& p : group)
    if (p.cores.size() == 1) alone[p.cores[0]].push_back(p.rank);
  for (const auto& [core, ranks] : alone) {
    if (ranks.size() < 2) continue;
    raise(row, Status::kWarning);
    row.details.push_back(fmt::format("{}: ranks {} have core {} alone and share it", group[0].host, ranges_text(ranks), core));
    if (row.fix.empty())
      row.fix = fmt::format("bind each rank to cores of its own: {}", fmt::format(kBind, most_threads(group)));
  }
}

void find_too_many_threads(const std::vector<RankPlace>& group, Row& row) {
  const auto cores = cores_of(group);
  if (cores.empty()) return;
  int threads = 0;
  for (const auto& p : group) {
    threads += p.threads;
    if (p.threads <= static_cast<int>(p.cores.size())) continue;
    raise(row, Status::kWarning);
    row.details.push_back(fmt::format("{}: rank {} has {} threads on {} of its cores ({})", p.host, p.rank, p.threads,
                                      p.cores.size(), ranges_text(p.cores)));
    if (row.fix.empty())
      row.fix = fmt::format("give a rank as many cores as threads: {}; or set engine.threads: {}",
                            fmt::format(kBind, p.threads), p.cores.size());
  }
  const int available = static_cast<int>(cores.size()), ranks = static_cast<int>(group.size());
  if (threads <= available) return;
  raise(row, Status::kWarning);
  row.details.push_back(
      fmt::format("{}: {} ranks have {} threads together on {} cores", group[0].host, ranks, threads, available));
  if (!row.fix.empty()) return;
  row.fix = available >= ranks ? fmt::format("set engine.threads: {} (or OMP_NUM_THREADS)", available / ranks)
                               : fmt::format("start at most {} ranks on that host, or give the job more cores", available);
}

}  // namespace

std::string device_of(const RankPlace& p) { return p.gpu < 0 ? "cpu" : fmt::format("cuda:{}", p.gpu); }

Json place_json(const RankPlace& p) {
  return {{"rank", p.rank},
          {"host", p.host},
          {"local_rank", p.local_rank},
          {"device", device_of(p)},
          {"uuid", p.uuid},
          {"threads", p.threads},
          {"cores", p.cores},
          {"shm_free", p.shm_free}};
}

RankPlace place_from_json(const Json& json) {
  RankPlace p;
  p.rank = json.at("rank");
  p.host = json.at("host");
  p.local_rank = json.at("local_rank");
  const std::string device = json.at("device");
  if (device.starts_with("cuda:")) p.gpu = std::stoi(device.substr(5));
  p.uuid = json.at("uuid");
  p.threads = json.at("threads");
  p.cores = json.at("cores").get<std::vector<int>>();
  p.shm_free = json.at("shm_free");
  return p;
}

std::string ranges_text(const std::vector<int>& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size();) {
    size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ",", numbers[i]);
    if (last > i) text += fmt::format("-{}", numbers[last]);
    i = last + 1;
  }
  return text;
}

std::vector<std::string> hosts_of(const std::vector<RankPlace>& places) {
  std::vector<std::string> hosts;
  for (const auto& p : places)
    if (std::find(hosts.begin(), hosts.end(), p.host) == hosts.end()) hosts.push_back(p.host);
  return hosts;
}

std::vector<int> leaders_of(const std::vector<RankPlace>& places) {
  std::set<std::string> seen;
  std::vector<int> leaders;
  for (const auto& p : places)
    if (seen.insert(p.host).second) leaders.push_back(p.rank);
  return leaders;
}

Row judge_launcher(int launched, int ranks, int hosts) {
  Row row{"launcher", Status::kOk,
          fmt::format("{} {} on {} {}", ranks, ranks == 1 ? "rank" : "ranks", hosts, hosts == 1 ? "host" : "hosts"), ""};
  row.values = {{"launched", launched}, {"ranks", ranks}, {"hosts", hosts}};
  if (launched > ranks) {
    row.status = Status::kFailed;
    row.found = fmt::format("the launcher started {} processes but MPI sees a world of {}", launched, ranks);
    row.fix = "use the launcher of the MPI that fmtrain version names, or srun --mpi=pmix, for MPICH --mpi=pmi2 (srun --mpi=list)";
  }
  return row;
}

Row judge_placement(const std::vector<RankPlace>& places) {
  Row row{"placement", Status::kOk, "", ""};
  const auto groups = by_host(places);
  size_t least = SIZE_MAX, most = 0;
  for (const auto& group : groups) {
    find_shared_core(group, row);
    find_too_many_threads(group, row);
    least = std::min(least, cores_of(group).size());
    most = std::max(most, cores_of(group).size());
  }
  const std::string cores = least == most ? std::to_string(most) : fmt::format("{} to {}", least, most);
  row.found = row.status == Status::kOk ? fmt::format("{} threads a rank, {} cores a host for its ranks", most_threads(places),
                                                      most == 0 ? "unknown" : cores)
                                        : row.details[0];
  if (row.details.size() == 1) row.details.clear();
  return row;
}

Row judge_devices(const std::vector<RankPlace>& places, const std::string& fault) {
  Row row{"devices", Status::kOk, "", ""};
  std::set<std::string> gpus;
  for (const auto& p : places)
    if (p.gpu >= 0) gpus.insert(p.uuid);
  row.found = gpus.empty() ? "CPU" : fmt::format("{} ranks on {} GPUs", places.size(), gpus.size());
  row.values = {{"gpus", gpus.size()}};
  if (fault.empty()) return row;
  row.status = Status::kFailed;
  row.found = fault.substr(0, fault.find('\n'));
  for (size_t at = fault.find('\n'); at != std::string::npos;) {
    const size_t end = fault.find('\n', at + 1);
    row.details.push_back(fault.substr(at + 1, end == std::string::npos ? end : end - at - 1));
    at = end;
  }
  row.fix = "srun --gpus-per-task=1, or as many ranks a host as it has GPUs; without GPUs engine.device: cpu";
  return row;
}

Row judge_shared_memory(const std::vector<RankPlace>& places, int64_t needed_by_rank, int64_t needed_once) {
  Row row{"shared memory", Status::kOk, "", ""};
  const auto mib = [](int64_t bytes) { return bytes >> 20; };
  int64_t tightest = INT64_MAX, least = -1;
  for (const auto& group : by_host(places)) {
    const int64_t free = group[0].shm_free, needed = needed_once + needed_by_rank * static_cast<int64_t>(group.size());
    if (free < 0) continue;
    if (free - needed < tightest) {
      tightest = free - needed;
      least = free;
      row.values = {{"free", free}, {"needed", needed}, {"host", group[0].host}};
    }
    if (free >= needed) continue;
    row.status = Status::kFailed;
    row.details.push_back(
        fmt::format("{}: {} MiB free, its {} ranks need {} MiB", group[0].host, mib(free), group.size(), mib(needed) + 1));
    row.fix = "enlarge /dev/shm (container: --shm-size; kubernetes: a memory volume), or start fewer ranks a host";
  }
  row.found = least < 0 ? "/dev/shm: unknown"
                        : fmt::format("/dev/shm has {} MiB free, the run takes {} MiB", mib(least),
                                      mib(row.values.at("needed").get<int64_t>()) + 1);
  return row;
}

}  // namespace fmtrain
