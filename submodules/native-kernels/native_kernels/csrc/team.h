// A team of threads that lives for one call. Who waits yields its processor, and soon sleeps, so
// another job on the machine costs its share and no more; and with nothing left running between
// calls, fork stays safe.
#pragma once

#include <pthread.h>

#include <atomic>
#include <chrono>
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
    const int64_t round = round_;
    {
      const auto lock = monitor_.lock();
      if (++arrived_ == size_) {
        arrived_ = 0;
        round_ = round + 1;
        monitor_.notify_all();
        return;
      }
    }
    const auto all_came = [&] { return round_ != round; };
    if (yield_until(all_came)) return;
    const auto lock = monitor_.lock();
    while (!all_came()) monitor_.wait();
  }

 private:
  // Falling asleep and being woken takes 10 to 50 us, often more than what is waited for. False
  // where that takes longer.
  template <class Done>
  static bool yield_until(const Done& done) {
    const auto begin = std::chrono::steady_clock::now();
    do {
      if (done()) return true;
      std::this_thread::yield();
    } while (std::chrono::steady_clock::now() - begin < std::chrono::microseconds(20));
    return false;
  }

  void complete(int size) {
    const auto lock = monitor_.lock();
    size_ = size;
  }

  Monitor monitor_;
  int size_ = 0, arrived_ = 0;  // a size of 0 is not known yet: nobody's arrival is the last
  std::atomic<int64_t> round_{0};
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
