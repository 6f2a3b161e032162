// Ranks as threads: now a communicator of the program.
#pragma once
#include "comm/thread_communicator.h"
