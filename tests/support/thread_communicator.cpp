// comm/thread_communicator.cpp
