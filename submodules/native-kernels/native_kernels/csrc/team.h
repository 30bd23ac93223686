// A team of threads that stays with the thread that calls. Who waits within a call yields its
// processor, and soon sleeps; between calls all members sleep: another job on the machine costs its
// share and no more.
#pragma once

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
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
  // Runs body(team, rank) on `size` threads, or on as many as the system grants; the caller is rank
  // 0. A body runs no other.
  template <class Body>
  static void run(int size, const Body& body) {
    Team& team = of_this_thread();
    team.hire(size - 1);
    team.size_ = std::max(1, std::min(size, 1 + (int)team.members_.size()));
    team.body_ = &body;
    team.work_ = [](const void* body, Team& team, int rank) { (*(const Body*)body)(team, rank); };
    for (int rank = 1; rank < team.size_; ++rank) team.members_[rank - 1]->wake();
    body(team, 0);
    team.meet();
  }

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
  class Member {
   public:
    Member(Team& team, int rank) : thread_([this, &team, rank] { serve(team, rank); }) {}
    ~Member() { thread_.join(); }
    void wake() {
      const auto lock = monitor_.lock();
      asleep_ = false;
      monitor_.notify_all();
    }

   private:
    void sleep() {
      const auto lock = monitor_.lock();
      while (asleep_) monitor_.wait();
      asleep_ = true;
    }
    void serve(Team& team, int rank) {
      for (sleep(); team.work_; sleep()) {
        team.work_(team.body_, team, rank);
        team.meet();
      }
    }

    Monitor monitor_;
    bool asleep_ = true;
    std::thread thread_;
  };

  // A forked process has none of its parent's threads, and leaves alone what they left.
  struct Farewell {
    void operator()(Team* team) const {
      if (team->process_ == getpid()) delete team;
    }
  };

  static Team& of_this_thread() {
    static thread_local std::unique_ptr<Team, Farewell> team;
    if (!team || team->process_ != getpid()) team.reset(new Team);
    return *team;
  }

  ~Team() {
    work_ = nullptr;
    for (auto& member : members_) member->wake();
  }

  void hire(int members) {
    members_.reserve(std::max(members, 0));
    while ((int)members_.size() < members) {
      try {
        members_.emplace_back(new Member(*this, (int)members_.size() + 1));
      } catch (const std::system_error&) {
        return;
      }
    }
  }

  // Falling asleep and being woken takes as long as this, often longer than what is waited for.
  // False when the time is up.
  template <class Done>
  static bool yield_until(const Done& done) {
    const auto begin = std::chrono::steady_clock::now();
    do {
      if (done()) return true;
      std::this_thread::yield();
    } while (std::chrono::steady_clock::now() - begin < std::chrono::microseconds(20));
    return false;
  }

  const pid_t process_ = getpid();
  int size_ = 1, arrived_ = 0;
  std::atomic<int64_t> round_{0};
  const void* body_ = nullptr;
  void (*work_)(const void* body, Team& team, int rank) = nullptr;  // null: the members leave
  Monitor monitor_;
  std::vector<std::unique_ptr<Member>> members_;
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

// The same, but each thread takes its own part of them first, which is the same in every call: what
// it touched last time may still be in its cache. Then it helps the others.
class SharedTasks {
 public:
  SharedTasks(int64_t count, int threads) : parts_(threads) {
    for (int rank = 0; rank < threads; ++rank) {
      parts_[rank].next = count * rank / threads;
      parts_[rank].end = count * (rank + 1) / threads;
    }
  }
  bool take(int rank, int64_t& task) {
    for (size_t k = 0; k < parts_.size(); ++k) {
      Part& part = parts_[(rank + k) % parts_.size()];
      if (part.next < part.end && (task = part.next++) < part.end) return true;
    }
    return false;
  }

 private:
  struct alignas(64) Part {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };
  std::vector<Part> parts_;
};
