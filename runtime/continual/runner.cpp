#include "runtime/continual/runner.h"

#include <algorithm>
#include <filesystem>

#include "runtime/continual/challenger_work.h"
#include "runtime/continual/cycle_data.h"
#include "runtime/continual/drift_history.h"
#include "runtime/continual/drift_report.h"
#include "runtime/continual/facts.h"
#include "runtime/continual/page.h"
#include "runtime/continual/slices.h"
#include "runtime/data/write_raw.h"
#include "runtime/hash.h"
#include "runtime/model_dir.h"
#include "runtime/report/run_log.h"
#include "runtime/watch/failure.h"

namespace fmtrain {
namespace {

constexpr int64_t kFromChampionInARow = 4, kLeastWindow = DriftOptions{}.least_window;
constexpr const char* kWithoutLabel = "(none)";  ///< of texts that came without; a file of texts has one for each

Fence cycles_fence(Registry& registry, RunLock& lock) { return fence_of(lock, Cycles(registry, {}).highest_fence()); }

std::string set_sha256(std::vector<std::string> hashes) {
  std::sort(hashes.begin(), hashes.end());
  std::string all;
  for (const auto& hash : hashes) all += hash + "\n";
  return sha256_hex(all.data(), all.size());
}

/// Of what a model was made from; ConfigError where `directory` is no model of fmtrain's for `task`.
Json origin_of(const std::string& directory, Task task) {
  const FinetunedModel made = load_finetuned(directory, Precision::kFp32);
  if (made.model->config().task != task) throw ConfigError(directory + ": is a model for another task than model.task");
  return made.fmtrain.value("lineage", Json::object());
}

int64_t training_texts(const std::vector<StoredBatch>& batches) {
  int64_t texts = 0;
  for (const auto& batch : batches)
    if (batch.labelled && (batch.role == TextRole::kTrain || batch.role == TextRole::kIncoming)) texts += batch.texts;
  return texts;
}

}  // namespace

/// What check() found.
struct ContinualRunner::Window {
  int64_t champion = 0;
  CyclePlan plan;  ///< of the champion's cycle
  TextStore::Taken taken;
  int64_t last_batch = 0, first_batch = 0;
  int64_t new_labelled = 0, fresh = 0;  ///< to be trained on: since the last cycle; since the champion's
  bool labelled = true;  ///< all of its texts are
  std::vector<std::string> hashes;
  DriftVerdict verdict = DriftVerdict::kInsufficientData;
  std::string why;  ///< of insufficient data
  Json report;      ///< drift_json; null: not tested
  DriftFacts facts;
};

ContinualRunner::ContinualRunner(const Config& config, Crew& crew, ContinualClock clock)
    : config_(config), crew_(crew), clock_(std::move(clock)), registry_(posix_files(), config.continual.registry),
      store_(posix_files(), config.continual.registry, config.model.task),
      incoming_(config.continual.incoming.empty() ? config.continual.registry + "/incoming" : config.continual.incoming) {
  parse_slices(config.continual.gate.slices);  // what is wrong with them is said before anything is done
  std::error_code error;
  std::filesystem::create_directories(registry_.directory(), error);  // what is wrong with it says the next line
  make_directories(registry_);
  posix_files().make_dir(incoming_);  // for those who look where to put files; one that cannot be made is seen when it is read
  const std::string place = registry_.directory() + "/cycles";
  lock_ = std::make_unique<RunLock>(posix_files(), place, clock_.me);
  clear_exit(place);  // of the command before
  clear_failure(place);
  cycles_.emplace(registry_, cycles_fence(registry_, *lock_));
  cycles_->remove_leftovers();
}

int64_t ContinualRunner::champion() const {
  if (const int64_t version = registry_.aliases().champion) return version;
  throw ConfigError(registry_.directory() + ": has no champion; make the first version with fmtrain continual init");
}

CyclePlan ContinualRunner::plan_of_version(int64_t version) const {
  CyclePlan plan;
  for (const auto& cycle : cycles_->all())  // the last one: the number of a version that an abandoned cycle never made is given again
    if (cycle.version == version) plan = plan_of(cycle);
  return plan;
}

ContinualAnswer ContinualRunner::init(const std::string& model, const std::string& run_dir) {
  if (const int64_t version = registry_.aliases().champion) return {{{"champion", version}, {"did", "nothing"}}};
  const auto& data = config_.data;
  const int64_t now = clock_.now();
  std::string manifest;
  const auto add = [&](TextRole role, const std::string& file, const char* split) {
    if (!file.empty()) manifest += store_.add(role, file, data.format, data.columns, split, now).content_sha256 + "\n";
  };
  add(TextRole::kTrain, data.train, "train");
  const std::string dataset = sha256_hex(manifest.data(), manifest.size());
  add(TextRole::kValidation, data.validation, "val");
  add(TextRole::kCore, data.test, "test");
  if (model.empty() && !crew_.train({run_dir, "", "", {}, {}, {}})) return {{{"did", "training"}}, ExitCode::kRequeue};
  const std::string source = model.empty() ? run_dir + "/model" : model;
  const Json made = origin_of(source, config_.model.task);
  RegistryLock lock(registry_, clock_.me);
  RegistryWriter writer(registry_, lock.fence());
  Lineage lineage;
  lineage.version = 1;
  lineage.base_sha256 = made.value("base_sha256", "");
  lineage.dataset_sha256 = dataset;
  lineage.config_sha256 = made.value("config", "");
  lineage.code_version = clock_.program;
  lineage.seed = config_.run.seed;
  if (registry_.versions().empty()) writer.add(source, lineage);
  writer.promote(1, "first version", now);
  draw();
  return {{{"champion", 1}, {"did", "promoted the first version"}, {"texts", training_texts(store_.batches())}}};
}

std::string ContinualRunner::write_texts(const char* name, std::vector<RawText> texts) {
  if (config_.model.task == Task::kSequenceClassification)
    for (auto& text : texts)
      if (text.label.empty()) text.label = kWithoutLabel;
  const std::string path = registry_.directory() + "/cycles/" + name + raw_extension(config_.model.task);
  write_file_atomic(posix_files(), path, write_raw(texts, config_.model.task));
  return path;
}

/// Texts that came after the last window that was tested, where they are enough for one: two windows in a row then share no file.
/// Else that window again, with what came since.
std::vector<RawText> ContinualRunner::window_of(Window& w, const std::vector<StoredBatch>& batches) const {
  const auto history = drift_history(registry_);
  const bool tested = !history.empty() && history.back().champion == w.champion;
  const auto newest = [&](int64_t after) {
    w.hashes.clear();
    return window_texts(store_, std::max(w.plan.last, after), config_.continual.window, &w.hashes);
  };
  auto texts = newest(tested ? history.back().last_batch : 0);
  if (tested && texts.size() < static_cast<size_t>(kLeastWindow)) texts = newest(history.back().first_batch - 1);
  auto missing = static_cast<int64_t>(texts.size());
  for (auto batch = batches.rbegin(); batch != batches.rend() && missing > 0; ++batch) {
    if (batch->role != TextRole::kIncoming) continue;
    w.first_batch = batch->number;
    w.labelled = w.labelled && batch->labelled;
    missing -= batch->texts;
  }
  return texts;
}

ContinualRunner::Window ContinualRunner::look() {
  Window w;
  w.champion = champion();
  w.plan = plan_of_version(w.champion);
  w.taken = store_.take(incoming_, config_.data.format, config_.data.columns, clock_.now());
  for (const auto& batch : w.taken.batches) clock_.say("took " + batch.file + ": " + std::to_string(batch.texts) + " texts");
  for (const auto& line : w.taken.refused) clock_.say("refused " + line);
  const auto batches = store_.batches();
  w.last_batch = batches.empty() ? 0 : batches.back().number;
  const CycleDataOptions options = cycle_data_options(config_, w.plan, registry_, w.champion);
  const auto cycles = cycles_->all();
  w.new_labelled = new_labelled(store_, cycles.empty() ? 0 : plan_of(cycles.back()).last, w.last_batch, options);
  w.fresh = new_labelled(store_, w.plan.last, w.last_batch, options);
  const auto texts = window_of(w, batches);
  const auto reference = reference_texts(store_, w.plan.first, w.plan.last, options);
  const auto least = static_cast<size_t>(kLeastWindow);
  if (texts.size() < least) w.why = std::to_string(texts.size()) + " new texts; at least " + std::to_string(least) + " are needed";
  else if (reference.size() < least)
    w.why = std::to_string(reference.size()) + " held-out texts stand for the champion's data; at least " + std::to_string(least) +
            " are needed (data.validation and data.test give those of the first version)";
  else test(w, reference, texts);
  return w;
}

void ContinualRunner::test(Window& w, const std::vector<RawText>& reference, const std::vector<RawText>& texts) {
  clock_.say("drift test of " + std::to_string(texts.size()) + " new texts against " + std::to_string(reference.size()) +
             " of version " + version_name(w.champion));
  const std::string window = write_texts("window", texts);
  w.facts = crew_.check({registry_.verified(w.champion), write_texts("reference", reference), window, w.labelled});
  const auto& r = w.facts.report;
  const int64_t wanted = config_.continual.drift.consecutive;
  w.verdict = drift_verdict(r, drifted_before(drift_history(registry_), w.champion, w.first_batch, wanted));
  w.report = drift_json(r, w.verdict);
  add_drift_record(registry_, {clock_.now(), w.champion, r.window, w.first_batch, w.last_batch, set_sha256(w.hashes), r.mmd.p,
                               r.severity, r.drifted(), r.dropped(), w.report.at("verdict")});
}

ContinualAnswer ContinualRunner::answer_of(const Window& w) {
  Json taken = Json::array();
  for (const auto& batch : w.taken.batches)
    taken.push_back({{"file", batch.file}, {"texts", batch.texts}, {"labelled", batch.labelled}, {"batch", batch.number}});
  Json facts{{"version", 1}, {"champion", w.champion}, {"taken", taken}, {"refused", w.taken.refused}, {"new_labelled", w.new_labelled}};
  if (w.report.is_null()) facts["insufficient"] = w.why;
  else facts["drift"] = w.report;
  if (w.facts.accuracy.standard_error > 0)
    facts["accuracy"] = {{"value", w.facts.accuracy.value}, {"standard_error", w.facts.accuracy.standard_error}};
  return {facts, static_cast<ExitCode>(exit_code(w.verdict))};
}

ContinualAnswer ContinualRunner::check() {
  const auto answer = answer_of(look());
  draw();
  return answer;
}

bool ContinualRunner::starts_from_base(const std::vector<CycleState>& cycles) const {
  const auto from = config_.continual.challenger.from;
  if (from != ChallengerStart::kAuto) return from == ChallengerStart::kBase;
  int64_t in_a_row = 0;
  for (auto cycle = cycles.rbegin(); cycle != cycles.rend() && !plan_of(*cycle).from_base; ++cycle) ++in_a_row;
  return in_a_row >= kFromChampionInARow;
}

CycleState ContinualRunner::begin(TriggerKind kind, const Window& w, int64_t now) {
  const auto cycles = cycles_->all();
  CyclePlan plan;
  plan.first = w.plan.last;  // what no champion has learnt: also the texts of challengers that were not promoted
  plan.last = w.last_batch;
  plan.parent = w.champion;
  plan.from_base = starts_from_base(cycles);
  plan.program = clock_.program;
  Json trigger{{"kind", trigger_name(kind)}, {"new_labelled", w.new_labelled}};
  trigger.update(plan_json(plan));
  RegistryLock lock(registry_, clock_.me);
  const int64_t version = RegistryWriter(registry_, lock.fence()).next_version();
  return cycles_->begin(trigger, version, now);
}

ContinualAnswer ContinualRunner::run(const Request& request) {
  champion();
  const auto left = cycles_->unfinished();
  if (!request.abandon.empty()) {
    if (!left) throw ConfigError(registry_.directory() + ": no cycle is unfinished");
    cycles_->abandon(*left, request.abandon);
    draw();
    return {{{"version", 1}, {"did", "abandoned"}, {"cycle", left->number}}};
  }
  tidy();
  if (left) {
    clock_.say("goes on with cycle " + std::to_string(left->number) + ", which was " + cycle_stage_name(left->stage));
    return finish(*left, {{"version", 1}, {"did", "cycle"}, {"why", "unfinished"}});
  }
  const Window w = look();
  const int64_t now = clock_.now();
  TriggerInputs inputs;
  inputs.manual = request.now;
  inputs.drift_alarm = w.verdict == DriftVerdict::kDrift;
  inputs.estimated_drop = !w.report.is_null() && w.facts.report.dropped();
  if (w.facts.report.performance && w.facts.accuracy.standard_error > 0)
    inputs.accuracy_drop_lcb = drop_lcb95(w.facts.report.performance->measured, w.facts.accuracy);
  inputs.new_labelled = w.new_labelled;
  inputs.train_examples = training_texts(store_.batches());
  const auto cycles = cycles_->all();
  inputs.last_cycle = cycles.empty() ? registry_.aliases().last.time : cycles.back().started;
  Json facts{{"version", 1}, {"did", "nothing"}, {"check", answer_of(w).facts}};
  const auto trigger = triggered(inputs, CycleSchedule(config_.continual.schedule), now);
  std::string why = trigger ? braked(Cycles::history(cycles), brakes_of(config_.continual), *trigger, now) : "no trigger";
  if (trigger && why.empty() && w.fresh == 0) why = "no new labelled texts to train on";
  if (!why.empty()) {
    facts["why"] = why;
    draw();
    return {facts};
  }
  facts["did"] = "cycle";
  facts["why"] = trigger_name(*trigger);
  return finish(begin(*trigger, w, now), facts);
}

ContinualAnswer ContinualRunner::finish(CycleState state, Json facts) {
  ChallengerWork work(registry_, store_, crew_, clock_.me);
  clock_.say("cycle " + std::to_string(state.number) + ": version " + version_name(state.version) + " challenges " +
             version_name(plan_of(state).parent));
  try {
    state = cycles_->finish(state, work);
  } catch (const StoppedInCycle&) {
    facts["did"] = "stopped in a cycle";
    return {facts, ExitCode::kRequeue};
  }
  facts["cycle"] = Json{{"number", state.number}, {"version", state.version}, {"verdict", state.records.at("decided").at("verdict")},
                        {"reasons", state.records.at("decided").value("reasons", Json::array())},
                        {"promoted", state.records.at("published").at("promoted")}, {"gate", state.records.at("decided")}};
  tidy();
  draw();
  return {facts};
}

/// After cycles were published: weights of versions that nobody can go back to, and what their trainings left.
void ContinualRunner::tidy() {
  for (const auto& cycle : cycles_->all()) {
    if (cycle.stage != CycleStage::kPublished) continue;
    for (const char* part : {"/run/checkpoints", "/run/model"}) {
      const std::string place = cycles_->directory(cycle.number) + part;
      if (std::filesystem::exists(place)) remove_tree(posix_files(), place);
    }
  }
  RegistryLock lock(registry_, clock_.me);
  RegistryWriter(registry_, lock.fence()).prune();
}

void ContinualRunner::draw() {
  write_file_atomic(posix_files(), registry_.directory() + "/continual.html",
                    continual_page(continual_facts(registry_, config_, clock_.now())));
}

}  // namespace fmtrain
