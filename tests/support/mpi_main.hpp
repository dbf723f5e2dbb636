#pragma once

// The main of an MPI test: every rank runs the same cases. A rank whose case fails leaves the others waiting,
// which their deadline ends.

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <ringfold/comm/mpi_environment.hpp>

int main(int argc, char** argv) {
  ringfold::mpi_environment const environment(argc, argv);
  return doctest::Context(argc, argv).run();
}
