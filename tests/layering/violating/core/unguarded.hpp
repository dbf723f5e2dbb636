// report: no #pragma once
