// report: stands outside every floor
#pragma once

