// A team of threads that lives for one call. Waiting threads sleep: they never spin, so another job
// on the machine costs its share and no more; and with nothing left running between calls, fork
// stays safe.
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

// What threads wait on: locked, changed, then told to all that sleep.
class Monitor {
 public:
  std::unique_lock<std::mutex> lock() { return std::unique_lock<std::mutex>(mutex_); }
  // POSIX's: std's has a new symbol version since GCC 12, which the libstdc++ of an older system, or of
  // a conda environment, does not have.
  void wait() { pthread_cond_wait(changed_.native_handle(), mutex_.native_handle()); }
  void notify_all() { changed_.notify_all(); }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
};

class Team {
 public:
  // Runs body(rank) on `size` threads, or on as many as the system grants; the caller is rank 0.
  template <class Body>
  static void run(int size, const Body& body) {
    Team team;
    std::vector<std::thread> others;
    others.reserve(size > 1 ? size - 1 : 0);
    for (int rank = 1; rank < size; ++rank) {
      try {
        others.emplace_back([&team, &body, rank] { body(team, rank); });
      } catch (const std::system_error&) {
        break;
      }
    }
    team.complete((int)others.size() + 1);
    body(team, 0);
    for (std::thread& thread : others) thread.join();
  }

  // Rank 0 knows it at once, the others from their first meeting on.
  int size() const { return size_; }

  // Returns when every thread of the team has come here.
  void meet() {
    const auto lock = monitor_.lock();
    const int64_t round = round_;
    if (++arrived_ == size_) {
      arrived_ = 0;
      ++round_;
      monitor_.notify_all();
    } else {
      while (round_ == round) monitor_.wait();
    }
  }

 private:
  void complete(int size) {
    const auto lock = monitor_.lock();
    size_ = size;
  }

  Monitor monitor_;
  int size_ = 0, arrived_ = 0;  // a size of 0 is not known yet: nobody's arrival is the last
  int64_t round_ = 0;
};

// Hands out 0 .. count - 1, each once. Who gets which never matters to a result.
class Tasks {
 public:
  explicit Tasks(int64_t count) : count_(count) {}
  bool take(int64_t& task) {
    task = next_.fetch_add(1, std::memory_order_relaxed);
    return task < count_;
  }

 private:
  const int64_t count_;
  std::atomic<int64_t> next_{0};
};
