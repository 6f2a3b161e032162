#include "launch/run.h"

#include "launch/trial_read.h"
#include "launch/world.h"

namespace fmtrain {

int run_training(const std::string& config_path, const std::vector<std::string>& overrides, bool resume) {
  const auto load = [&] { return load_config(config_path, overrides); };
  return run_in_world(load, [resume](const Config& config, Communicator& comm, RunOptions& options) {
    options.resume = resume;
    if (comm.rank() == 0) trial_read(config);
    return train(config, comm, options);
  });
}

}  // namespace fmtrain
